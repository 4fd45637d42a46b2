"""Mute windows: when events teach nothing, or alarm nobody. By event time and the local calendar alone: a replay agrees.

A window is a chain of occurrences, one a day at most. A time of day that the clock shows twice begins an occurrence at the
first and ends it at the second; one that the clock leaves out comes so much later.

Shapes: N events of a batch, K streams of it, B rows of the slab and W of those.
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
"""The day of the week that the epoch began on."""
NOTHING = (inf, -inf)
"""An occurrence that does not take place."""
DAYS_KEPT, PATTERNS_KEPT, KEYS_KEPT = 1 << 12, 1 << 10, 1 << 16
"""What is remembered: occurrences of a window, and of all windows of the process together patterns and answers about
streams."""
DAYS_COVERED = 400
"""Of a gap, so many at most are looked at for what windows cover of it."""
LOOK_DAYS = 16
"""Looked at from a moment on: a window that recurs has an occurrence in them, though the clock may leave one out."""


class Window:
    """One rule, in a time zone."""

    def __init__(self, rule: MuteRule, timezone: str) -> None:
        self.learn, self._rule, self._timezone = rule.learn, rule, timezone
        self._zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
        self._from = -inf if rule.start is None else float(rule.start)
        self._to = inf if rule.end is None else float(rule.end)
        self.of_every_stream = EVERY_STREAM in rule.streams
        self._on = lru_cache(DAYS_KEPT)(self._occurrence)

    def until(self, time_N: Float64) -> Float64:
        """The end of the occurrence that each moment lies in; minus infinity where it lies in none."""
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
        """Whether some moment from `first` to `last`, both included, lies in it."""
        lowest, highest = max(first, self._from), min(last, self._to)
        if lowest > highest or lowest == self._to:
            return False
        if self._rule.begin is None:
            return True
        day, later = (int(time // (DAY * SECOND)) for time in (lowest, highest))  # UTC's: a day off at most
        spans = map(self._on, range(day - 2, later + 2)[:LOOK_DAYS])
        return any(start <= last and stop > first for start, stop in spans)

    def spans(self, first: float, last: float) -> Iterator[tuple[float, float]]:
        """Its occurrences in this stretch, cut to it; of one of years those of its beginning."""
        lowest, highest = max(first, self._from), min(last, self._to)
        if lowest < highest and self._rule.begin is None:
            yield lowest, highest
        elif lowest < highest:
            day, later = (int(time // (DAY * SECOND)) for time in (lowest, highest))
            for start, stop in map(self._on, range(day - 2, later + 2)[:DAYS_COVERED]):
                if start < highest and stop > lowest:
                    yield max(start, lowest), min(stop, highest)

    def concerns(self, key: str) -> bool:
        """Whether this stream's events lie in it when their times do."""
        return self.of_every_stream or matches(self._rule.streams, key)

    def _occurrence(self, day: int) -> tuple[float, float]:
        """That of a day of the local calendar, counted from the epoch."""
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
        """Epoch microseconds of a time of day; past the last year that there is, never."""
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
class Hushed:
    """What windows do to the events of a batch."""

    left_N: Bool
    """Left out, but for the stream's being alive."""
    quiet_N: Bool
    """Scored and learned, and alarming nobody."""

    def part(self, which: slice) -> Hushed:
        """Some of them."""
        return Hushed(self.left_N[which], self.quiet_N[which])

    def heard(self, fresh_N: Bool, known_K: Int64, stream_N: Int32, scores: Scores) -> Bool:
        """Of the fresh events, those that find a stream, or make one: what is left out makes none, and has its status."""
        scores.status_N[self.left_N & fresh_N] = Status.MUTED
        there_K = known_K >= 0
        there_K[stream_N[fresh_N & ~self.left_N]] = True
        return np.asarray(fresh_N & there_K[stream_N])


@dataclass(frozen=True, slots=True)
class Mutes:
    """Every window of a deployment. Where several cover an event, one that teaches nothing wins."""

    windows: tuple[Window, ...]

    @classmethod
    def of(cls, rules: Sequence[MuteRule], timezone: str) -> Self | None:
        """None without rules: then there is nothing to compute."""
        return cls(tuple(Window(rule, timezone) for rule in rules)) if rules else None

    def over(self, observations: Observations) -> Hushed | None:
        """None where no event of the batch lies in a window: its times are looked at first, and then their streams."""
        time_N, first, last = observations.time_N, int(observations.time_N.min()), int(observations.time_N.max())
        left_N, quiet_N = (np.zeros(len(time_N), bool) for _ in range(2))
        for window in self.windows:
            if window.meets(first, last):
                inside_N = window.until(time_N.astype(np.float64)) > -inf
                (quiet_N if window.learn else left_N)[_concerned(window, observations, inside_N)] = True
        hushed = Hushed(left_N, quiet_N & ~left_N)
        return hushed if hushed.left_N.any() or hushed.quiet_N.any() else None

    def until(self, key_of: Mapping[int, str], row_B: Int64, which: Int64, time_W: Float64) -> Float64:
        """Of some of these rows: the latest end of a window of its stream that this moment lies in; minus infinity where it
        lies in none."""
        end_W = np.full(len(which), -inf)
        for window in self.windows:
            one_W = window.until(time_W)
            for at in np.flatnonzero(one_W > end_W).tolist():
                if window.of_every_stream or window.concerns(key_of[int(row_B[which[at]])]):
                    end_W[at] = one_W[at]
        return end_W

    def covered(self, key: str, first: float, last: float) -> float:
        """How much of the time between the two lies in windows of this stream."""
        spans = sorted(span for one in self.windows if one.concerns(key) for span in one.spans(first, last))
        total, reached = 0.0, first
        for start, stop in spans:
            total += max(stop - max(start, reached), 0.0)
            reached = max(reached, stop)
        return total

    def left_out(self, key: str, time_N: Int64) -> Bool:
        """Which moments of this stream lie in a window that teaches nothing."""
        inside_N = np.zeros(len(time_N), bool)
        for window in self.windows:
            if len(time_N) and not window.learn and window.concerns(key):
                inside_N |= window.until(time_N.astype(np.float64)) > -inf
        return inside_N


def _concerned(window: Window, observations: Observations, inside_N: Bool) -> Bool:
    """Those of these events whose streams the window is about."""
    if window.of_every_stream or not inside_N.any():
        return inside_N
    concerned_K = np.zeros(len(observations.keys), bool)
    for stream in np.unique(observations.stream_N[inside_N]).tolist():
        concerned_K[stream] = window.concerns(observations.keys[stream])
    return np.asarray(inside_N & concerned_K[observations.stream_N])
