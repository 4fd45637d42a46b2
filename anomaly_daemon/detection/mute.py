"""Mute windows: intervals in which events teach the detector nothing, or raise no alarm. They depend on event time and
the local calendar alone, so a replay gives the same result.

A window is a chain of occurrences, at most one a day. Where the clock shows a time of day twice, an occurrence that
begins then begins at the first of the two, and one that ends then ends at the second. A time of day that the clock
skips comes later by as much as is skipped.

Shapes: N events of a batch, K streams in it, B rows of the slab, and W selected rows among those B.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from functools import lru_cache
from math import inf
from re import Pattern
from re import compile as pattern
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.context import DAY, SECOND, offsets
from anomaly_daemon.detection.observation import Float64, Int32, Int64, Observations
from anomaly_daemon.detection.rules import EVERY_STREAM, MuteRule
from anomaly_daemon.detection.scores import Scores, Status

Bool = npt.NDArray[np.bool_]

EPOCH = datetime(1970, 1, 1)
THURSDAY = 3
"""The day of the week of the epoch, where Monday is 0."""
NOTHING = (inf, -inf)
"""The span of an occurrence that does not take place: it contains no moment."""
DAYS_KEPT, PATTERNS_KEPT, KEYS_KEPT = 1 << 12, 1 << 10, 1 << 16
"""Sizes of the caches: the occurrences of one window; and, for all windows of the process together, compiled patterns
and answers on whether a stream matches."""
DAYS_COVERED = 400
"""At most this many days of a gap are searched for the time that windows cover."""
LOOK_DAYS = 16
"""The number of days searched from a moment on. A window that recurs has an occurrence in that many days, even if the
clock skips one."""


class Window:
    """One mute rule, in a time zone."""

    def __init__(self, rule: MuteRule, timezone: str) -> None:
        self.learn, self._rule, self._timezone = rule.learn, rule, timezone
        self._zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
        self._from = -inf if rule.start is None else float(rule.start)
        self._to = inf if rule.end is None else float(rule.end)
        self.of_every_stream = EVERY_STREAM in rule.streams
        self._on = lru_cache(DAYS_KEPT)(self._occurrence)

    def until(self, time_N: Float64) -> Float64:
        """Return, for each moment, the end of the occurrence that contains it, or minus infinity where none does."""
        end_N = np.full(len(time_N), -inf)
        if self._rule.begin is None:
            end_N[(time_N >= self._from) & (time_N < self._to)] = self._to
            return end_N
        day_N = np.floor((time_N / SECOND + offsets(time_N.astype(np.int64), self._timezone)) / DAY)
        days, place_N = np.unique(day_N.astype(np.int64), return_inverse=True)
        for before in (1, 0):
            span_N2 = np.array([self._on(day - before) for day in days.tolist()]).reshape(-1, 2)[place_N]
            inside_N = (time_N >= span_N2[:, 0]) & (time_N < span_N2[:, 1])
            end_N[inside_N] = span_N2[inside_N, 1]
        return end_N

    def meets(self, first: float, last: float) -> bool:
        """Return whether any moment from `first` to `last`, both included, lies in the window."""
        lowest, highest = max(first, self._from), min(last, self._to)
        if lowest > highest or lowest == self._to:
            return False
        if self._rule.begin is None:
            return True
        day, later = (int(time // (DAY * SECOND)) for time in (lowest, highest))  # UTC days: off by a day at most
        spans = map(self._on, range(day - 2, later + 2)[:LOOK_DAYS])
        return any(start <= last and stop > first for start, stop in spans)

    def spans(self, first: float, last: float) -> Iterator[tuple[float, float]]:
        """Yield the occurrences between `first` and `last`, cut to that interval. Of an interval of years only the
        occurrences near its beginning are given (`DAYS_COVERED`)."""
        lowest, highest = max(first, self._from), min(last, self._to)
        if lowest < highest and self._rule.begin is None:
            yield lowest, highest
        elif lowest < highest:
            day, later = (int(time // (DAY * SECOND)) for time in (lowest, highest))
            for start, stop in map(self._on, range(day - 2, later + 2)[:DAYS_COVERED]):
                if start < highest and stop > lowest:
                    yield max(start, lowest), min(stop, highest)

    def concerns(self, key: str) -> bool:
        """Return whether the window applies to the stream with this key."""
        return self.of_every_stream or matches(self._rule.streams, key)

    def _occurrence(self, day: int) -> tuple[float, float]:
        """Return the span of the occurrence of `day`, a day of the local calendar counted from the epoch."""
        rule = self._rule
        assert rule.begin is not None
        assert rule.until is not None
        if (day + THURSDAY) % 7 not in rule.weekdays:
            return NOTHING
        over_midnight = rule.until <= rule.begin
        start = max(self._instant(day, rule.begin, 0), self._from)
        stop = min(max(self._instant(day + over_midnight, rule.until, fold) for fold in (0, 1)), self._to)
        return (start, stop) if start < stop else NOTHING

    def _instant(self, day: int, second: int, fold: int) -> float:
        """Return a second of a local day in epoch microseconds; infinity past the last year of the calendar."""
        try:
            local = (EPOCH + timedelta(day, second)).replace(tzinfo=self._zone, fold=fold)
            return (local - EPOCH.replace(tzinfo=UTC)) / timedelta(microseconds=1)
        except (OverflowError, ValueError):
            return inf


@lru_cache(KEYS_KEPT)
def matches(texts: tuple[str, ...], key: str) -> bool:
    return any(one.match(key) for one in patterns(texts))


@lru_cache(PATTERNS_KEPT)
def patterns(texts: tuple[str, ...]) -> tuple[Pattern[str], ...]:
    return tuple(pattern(translate(text)) for text in texts)


@dataclass(frozen=True, slots=True)
class Muted:
    """The effect of mute windows on the events of a batch."""

    skipped_N: Bool
    """Events that are skipped, except as signs that their streams are alive."""
    alarms_withheld_N: Bool
    """Events that are scored and learned, but raise no alarm."""

    def part(self, which: slice) -> Muted:
        """Return the same for some of the events."""
        return Muted(self.skipped_N[which], self.alarms_withheld_N[which])

    def with_row(self, fresh_N: Bool, known_K: Int64, stream_N: Int32, scores: Scores) -> Bool:
        """Return which of the fresh events have a stream with a row, or one that gets a row in this batch. A skipped
        event creates no row. Fresh events that are skipped get the status MUTED."""
        scores.status_N[self.skipped_N & fresh_N] = Status.MUTED
        there_K = known_K >= 0
        there_K[stream_N[fresh_N & ~self.skipped_N]] = True
        return np.asarray(fresh_N & there_K[stream_N])


@dataclass(frozen=True, slots=True)
class Mutes:
    """Every window of a deployment. Where several cover an event, one that teaches nothing takes precedence."""

    windows: tuple[Window, ...]

    @classmethod
    def of(cls, rules: Sequence[MuteRule], timezone: str) -> Self | None:
        """Return the windows of these rules, or None without rules, because then there is nothing to compute."""
        return cls(tuple(Window(rule, timezone) for rule in rules)) if rules else None

    def over(self, observations: Observations) -> Muted | None:
        """Return the effect on a batch, or None where no event lies in a window. The times of the batch are checked
        first, and then the streams."""
        time_N, first, last = observations.time_N, int(observations.time_N.min()), int(observations.time_N.max())
        skipped_N, alarms_withheld_N = (np.zeros(len(time_N), bool) for _ in range(2))
        for window in self.windows:
            if window.meets(first, last):
                inside_N = window.until(time_N.astype(np.float64)) > -inf
                (alarms_withheld_N if window.learn else skipped_N)[_concerned(window, observations, inside_N)] = True
        muted = Muted(skipped_N, alarms_withheld_N & ~skipped_N)
        return muted if muted.skipped_N.any() or muted.alarms_withheld_N.any() else None

    def until(self, key_of: Mapping[int, str], row_B: Int64, which: Int64, time_W: Float64) -> Float64:
        """For the rows `which` of `row_B`, return the latest end of a window that applies to the row's stream and
        contains the row's moment; minus infinity where there is none."""
        end_W = np.full(len(which), -inf)
        for window in self.windows:
            one_W = window.until(time_W)
            for at in np.flatnonzero(one_W > end_W).tolist():
                if window.of_every_stream or window.concerns(key_of[int(row_B[which[at]])]):
                    end_W[at] = one_W[at]
        return end_W

    def covered(self, key: str, first: float, last: float) -> float:
        """Return how much of the time between `first` and `last` lies in windows of this stream, in microseconds."""
        spans = sorted(span for one in self.windows if one.concerns(key) for span in one.spans(first, last))
        total, reached = 0.0, first
        for start, stop in spans:
            total += max(stop - max(start, reached), 0.0)
            reached = max(reached, stop)
        return total

    def left_out(self, key: str, time_N: Int64) -> Bool:
        """Return which moments of this stream lie in a window that teaches nothing."""
        inside_N = np.zeros(len(time_N), bool)
        for window in self.windows:
            if len(time_N) and not window.learn and window.concerns(key):
                inside_N |= window.until(time_N.astype(np.float64)) > -inf
        return inside_N


def _concerned(window: Window, observations: Observations, inside_N: Bool) -> Bool:
    """Return which of the events inside the window belong to streams that the window applies to."""
    if window.of_every_stream or not inside_N.any():
        return inside_N
    concerned_K = np.zeros(len(observations.keys), bool)
    for stream in np.unique(observations.stream_N[inside_N]).tolist():
        concerned_K[stream] = window.concerns(observations.keys[stream])
    return np.asarray(inside_N & concerned_K[observations.stream_N])
