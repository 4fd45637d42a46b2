"""Timers on event time: a stream that has stopped, and one that has stopped permanently.

They run on the partition's watermark, the largest event time so far, so a replay agrees with the first run. A timer
that falls due between two records is reported at the record whose time passed it, wherever a batch ends. A stream is
retired, and its episodes are closed, when it has been silent for long. It is forgotten when it was unseen for
`idle_stream_seconds`.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, isnan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import duration
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.episode import KINDS, SEVERITY_AT_LIMIT, Sighting, Turn, end, turn
from anomaly_daemon.detection.interruption import LATE, SELDOM
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.detection.rules import DAY_SECONDS, EpisodeRule, Rules
from anomaly_daemon.detection.state import Column, Rows, Slab, StateLayout

SECOND = 1e6
Until = Callable[[Int64, Float64], Float64]
"""For some rows, and a moment of each: the end of the mute window that contains the moment; minus infinity where none
does."""


class Keyed(NamedTuple):
    """What depends on the keys of the rows' streams."""

    until: Until | None
    """None where there are no mute windows."""
    short_lived: Callable[[Int64], npt.NDArray[np.bool_]] | None
    """Returns which of these rows' streams end by themselves (`SilenceRule.short_lived`); None where there are no such
    patterns."""


P_RANGE = (1e-9, 0.05)
"""Bounds of the alarm threshold, whatever the budget and the stream's rate."""

STRAY = 1000.0
"""A gap among the first ones that is this many times the mean of the others is no part of the stream's cadence: the
clock was at 1970 until it was set, or a record came weeks before all others. As there was no limit yet, the gap was
learned in full."""

DEADLINES = ("silence_at", "retire_at")
"""The columns that hold the event time at which a timer falls due."""

COLUMNS = (
    *duration.columns("gap"),
    Column("seen_at"),
    Column("silence_at", (), np.inf),
    Column("retire_at", (), np.inf),
    Column("last_offset"),
    Column("last_index"),
    Column("sign_time", (), -np.inf),
    Column("untimely"),
)


class At(NamedTuple):
    """Where a row stores each."""

    gaps: duration.At
    seen_at: int
    silence_at: int
    retire_at: int
    untimely: int
    """The share of gaps that are much longer than usual."""


class Waits(NamedTuple):
    """The rules, as the numbers that the computation uses; times in microseconds."""

    silence: bool
    minimum: float
    longest_ratio: float
    alarms: float
    """Alarms that the budget allows per microsecond."""
    accept: float
    forget: float

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """Convert the rules on time."""
        return cls(
            rules.silence.enabled,
            float(rules.silence.minimum),
            float(rules.silence.longest_ratio),
            rules.alarms_per_day / (DAY_SECONDS * SECOND),
            rules.episode.accept_seconds * SECOND,
            rules.idle_stream_seconds * SECOND,
        )


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    return At(duration.at(layout, "gap"), *(layout.start(name) for name in At._fields[1:]))


@compiled
def threshold(typical_gap: float, waits: Waits) -> float:
    """Return the p-value at which a stream with this mean gap, in microseconds, has the budget's alarms a day."""
    return min(max(waits.alarms * typical_gap, P_RANGE[0]), P_RANGE[1])


@compiled
def beat(row_Q: Float64, at: At, now: float, gap: float, waits: Waits) -> None:
    """Handle the arrival of an event: learn its gap (NaN for a stream's first), and restart the timers.

    They run from the watermark at which the event came: a stream whose times lag behind those of others (a backfill, a
    slow uploader) is neither silent nor unseen as long as its records come.
    """
    if not isnan(gap):  # computing the limit takes four logarithms, and it is never below this
        usual = gap <= waits.minimum * row_Q[at.gaps.mean]
        duration.absorb(row_Q, at.gaps, 0, gap, inf if usual else _limit(row_Q, at, waits))
    silence_at = now + _limit(row_Q, at, waits)
    retire_at = (silence_at if silence_at < inf else now + waits.accept) + waits.accept
    row_Q[at.seen_at], row_Q[at.silence_at] = now, silence_at
    row_Q[at.retire_at] = min(retire_at, now + waits.forget)


@compiled
def strayed(row_Q: Float64, at: At, gap: float) -> bool:
    """Return whether one of the gaps so far is a stray one, compared with the others and this one, and if so reset the
    gaps. The longest has faded a little by then, so the others are known well enough for the decision, but not to be
    kept."""
    mean, longest, count = row_Q[at.gaps.mean], row_Q[at.gaps.longest], row_Q[at.gaps.count]
    if not 0.0 < STRAY * gap < longest or STRAY * (mean * count - longest) > longest * (count - 1.0):
        return False
    row_Q[at.gaps.mean], row_Q[at.gaps.longest], row_Q[at.gaps.count] = 0.0, 0.0, 0.0
    return True


@compiled
def apart(row_Q: Float64, at: At, gap: float, waits: Waits) -> bool:
    """Return whether an event comes after a long gap (`interruption`) of a stream that keeps time, that is, has a
    regular pace; learn whether it does. A gap is long if events at random times would have one as seldom as the budget
    allows alarms."""
    mean, count = row_Q[at.gaps.mean], row_Q[at.gaps.count]
    if isnan(gap) or mean <= 0.0:
        return False
    long = gap > waits.minimum * mean and gap > duration.rarity_of(threshold(mean, waits)) * mean
    interrupted, late = long and row_Q[at.untimely] <= SELDOM, gap > LATE * mean
    row_Q[at.untimely] += max(1.0 / (count + 1.0), 1.0 / duration.MEMORY) * (late - row_Q[at.untimely])
    return bool(interrupted)


@compiled
def _limit(row_Q: Float64, at: At, waits: Waits) -> float:
    """Return the time after its last event at which a stream is silent. It is infinite while too few gaps are known,
    and for a stream whose events all had one time (dates without a clock). The first gap of such a stream is the first
    that is known of its cadence, and is learned in full."""
    mean = row_Q[at.gaps.mean]
    if not waits.silence or mean <= 0.0:
        return inf
    least, rarity = max(waits.minimum * mean, 1.0), duration.rarity_of(threshold(mean, waits))
    return duration.limit(row_Q, at.gaps, 0, least, waits.longest_ratio, rarity)


def fall_due(rows: Rows, watermark_B: Float64, rules: Rules, keyed: Keyed) -> list[tuple[float, Turn]]:
    """Return the turns of every timer due at `watermark_B`, each with the event time at which it was due. A silence
    deadline that was set while silences were looked for passes without a turn if they no longer are. So does that of a
    stream that ends by itself, and one that is later than the end of its stream: the stream is given up before."""
    retire_B = _retire_at(rows, rules)
    if not (watermark_B >= np.minimum(rows["silence_at"], retire_B)).any():
        return []
    if keyed.until is not None and rules.silence.enabled:
        _put_off(rows, watermark_B, rules, keyed.until)
    due_B, retire_at_B = rows["silence_at"].copy(), _retire_at(rows, rules)
    silent = watermark_B >= due_B
    silence = silent & rules.silence.enabled & (due_B <= retire_at_B)
    if keyed.short_lived is not None:
        silence[silence] = ~keyed.short_lived(np.flatnonzero(silence))
    seen = _sighting(rows, silence, due_B)
    turns = [(due_B[one.row], one) for one in turn(rows, Kind.SILENCE, seen, at_once(rules))]
    rows["silence_at"] = np.where(silent, np.inf, due_B)
    retired = watermark_B >= retire_at_B
    turns += [(retire_at_B[one.row], one) for kind in KINDS for one in end(rows, kind, retired, retire_at_B)]
    rows["retire_at"] = np.where(retired, _forget_at(rows, rules), rows["retire_at"])
    return turns


def _put_off(rows: Rows, watermark_B: Float64, rules: Rules, until: Until) -> None:
    """Postpone the silences that are due within a mute window: to the window's end, plus the time that the stream is
    waited for. Repeat while the new deadline is due and in a window. The stream's retirement is postponed with its
    silence, but the time at which it is forgotten is not."""
    waits, at_Q, forget_B = Waits.of(rules), rows.layout.of(at), _forget_at(rows, rules)
    due = np.flatnonzero(watermark_B >= rows["silence_at"])
    while len(due):
        over_B = until(due, rows["silence_at"][due])
        due, over_B = due[over_B > -inf], over_B[over_B > -inf]
        for b, over in zip(due.tolist(), over_B.tolist(), strict=True):
            row_Q = rows.statistics_BQ[b]
            put_off = over + _limit(row_Q, at_Q, waits)
            row_Q[at_Q.silence_at] = put_off if put_off < forget_B[b] else inf
            row_Q[at_Q.retire_at] = max(row_Q[at_Q.retire_at], min(put_off + waits.accept, forget_B[b]))
        due = due[watermark_B[due] >= rows["silence_at"][due]]


def long_gaps(rows: Rows, gap_B: Float64, waits: Waits) -> list[int]:
    """Return the rows whose gap is longer than the stream is waited for; where the stream is too new for such a limit,
    longer than the rule's minimum."""
    typical_B, known_B = rows["gap_mean"], rows["gap_count"] >= duration.KNOWN_AFTER
    long_B = np.flatnonzero((typical_B > 0) & (gap_B > waits.minimum * typical_B) & waits.silence)
    at_Q = rows.layout.of(at)
    return [b for b in long_B.tolist() if not known_B[b] or gap_B[b] > _limit(rows.statistics_BQ[b], at_Q, waits)]


def to_fire(slab: Slab, row_B: Int64, watermark: float, rules: Rules) -> Int64:
    """Return those of these due rows that `fall_due` would change. The others were retired before, and only a record
    may have them forgotten: without one they remain due at every check."""
    seen_at_B, retire_at_B = slab.column("seen_at")[row_B], slab.column("retire_at")[row_B]
    waits_B = retire_at_B == seen_at_B + rules.idle_stream_seconds * SECOND
    waits_B &= slab.column("silence_at")[row_B] > watermark
    waits_B &= ~(slab.column("episode_open")[row_B] > 0).any(axis=1)
    return np.asarray(row_B[~waits_B])


def forgotten(rows: Rows, watermark_B: Float64, rules: Rules) -> npt.NDArray[np.bool_]:
    """Return which streams were unseen for `idle_stream_seconds`, and start from scratch. Their episodes are closed by
    now."""
    return (rows["seen"] > 0) & (watermark_B >= _forget_at(rows, rules))


def _retire_at(rows: Rows, rules: Rules) -> Float64:
    """Return the time at which each stream is given up. It is never later than the time at which the stream is
    forgotten, even if the rules kept streams for longer when the stream's last event came."""
    return np.where(rows["seen"] > 0, np.minimum(rows["retire_at"], _forget_at(rows, rules)), rows["retire_at"])


def _forget_at(rows: Rows, rules: Rules) -> Float64:
    return rows["seen_at"] + rules.idle_stream_seconds * SECOND


def back(rows: Rows, time_B: Float64, offset_B: Float64, rules: Rules) -> list[Turn]:
    """Close the silence of each row that has one, because an event came; return the turns."""
    nothing, all_B = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    calm = Sighting(nothing, all_B, nothing, np.zeros(len(rows)), time_B, offset_B, np.zeros(len(rows)))
    return turn(rows, Kind.SILENCE, calm, at_once(rules))


def at_once(rules: Rules) -> EpisodeRule:
    """Return the rule for the kinds of episodes whose end is certain: they close on the first calm event."""
    return replace(rules.episode, close_after=1)


def _sighting(rows: Rows, silent: npt.NDArray[np.bool_], due_B: Float64) -> Sighting:
    """Return the sighting of the silences. A silence is sighted when it falls due, and refers to the last record before
    it."""
    time_B = np.where(silent, due_B, 0.0)
    nothing, half = np.zeros(len(rows), bool), np.full(len(rows), SEVERITY_AT_LIMIT)
    return Sighting(silent, nothing, nothing, half, time_B, rows["last_offset"], rows["last_index"])
