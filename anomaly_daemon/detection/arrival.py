"""An event comes to each row, and goes: what is left out, what is known before its value is, and what is kept of it.

Shapes: B rows, D numeric and C categorical features, E kinds of episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import feedback, rate, timers
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.duration import KNOWN_AFTER
from anomaly_daemon.detection.episode import KINDS
from anomaly_daemon.detection.observation import Float64, Int64, Numeric
from anomaly_daemon.detection.state import Column, StateLayout
from anomaly_daemon.detection.timers import Waits

PACE_IN_EPISODE = 0.2
"""How much an event teaches while its stream has an episode of its values open: a long anomaly must not become the norm
before `accept_seconds` say so, yet a false one must not last for ever. And after one that was as improbable and too small
to alarm: what slides away would be the norm by the time that it is large."""

WHOLE_GAPS = float(KNOWN_AFTER)
"""Gaps that are taken in whole, as nothing is known yet of how long they may be."""

PATTERN, SILENCE, STUCK = (KINDS.index(kind) for kind in (Kind.PATTERN, Kind.SILENCE, Kind.STUCK))


class At(NamedTuple):
    """Where a row has each."""

    timers: timers.At
    feedback: feedback.At
    seen: int
    first_time: int
    last_time: int
    last_offset: int
    last_index: int
    last_codes: int
    event_values: int
    """Of the last event; NaN where it had none."""
    withheld: int
    episode_open: int
    episode_accepted: int


class Arrived(NamedTuple):
    """The event of each row."""

    time_B: Float64
    """Microseconds; never before the stream's last where late records are accepted."""
    watermark_B: Float64
    """Of the partition, before it."""
    offset_B: Float64
    index_B: Float64
    values_BD: Float64
    codes_BC: Int64
    late_B: npt.NDArray[np.bool_]
    """Whether it is older than its stream's last and judged as if it came with it."""

    def kept(self, which_B: npt.NDArray[np.bool_]) -> Arrived:
        """Some of them."""
        return Arrived(*(column[which_B] for column in self))  # type: ignore[arg-type]


class Sorted(NamedTuple):
    """[B] each."""

    late: npt.NDArray[np.bool_]
    double: npt.NDArray[np.bool_]
    """The same time and values as the event before it."""
    due: npt.NDArray[np.bool_]
    """A timer of the row has to fall first, or its silence is over."""

    @classmethod
    def blank(cls, rows: int) -> Self:
        """Room for so many."""
        return cls(*(np.zeros(rows, bool) for _ in cls._fields))


class Begun(NamedTuple):
    """What is known of an event before its value is, [B] each."""

    gap: Float64
    """Microseconds since the stream's last; NaN for its first, and for one that came late."""
    typical_gap: Float64
    threshold: Float64
    """The p-value of an alarm by the budget ..."""
    moved: Float64
    """... and by what was said of earlier alerts, for a pattern."""
    pace: Float64
    """How much the event teaches, 0 to 1."""
    apart: npt.NDArray[np.bool_]
    """Whether it comes after a long gap (`interruption`)."""

    @classmethod
    def blank(cls, rows: int) -> Self:
        """Room for so many."""
        gap, typical, threshold, moved, pace = (np.empty(rows) for _ in cls._fields[:-1])
        return cls(gap, typical, threshold, moved, pace, np.empty(rows, bool))


def columns(numeric: Sequence[Numeric]) -> list[Column]:
    """What a row must hold, besides `last_codes`."""
    times = (Column(name) for name in ("seen", "first_time", "last_time", "withheld"))
    return [*times, Column("event_values", (len(numeric),), nan), *rate.columns(numeric)]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold it."""
    return At(timers.at(layout), feedback.at(layout), *(layout.start(name) for name in At._fields[2:]))


@compiled
def sort_out(
    statistics_BQ: Float64, at: At, arrived: Arrived, accept_late: bool, waits: Waits, out: Sorted
) -> tuple[int, int]:
    """How many are left out, and how many rows have a timer that is due."""
    left_out, due = 0, 0
    for b in range(len(statistics_BQ)):
        row_Q, watermark = statistics_BQ[b], arrived.watermark_B[b]
        if row_Q[at.seen] > 0:
            last = row_Q[at.last_time]
            if accept_late:
                arrived.late_B[b] = arrived.time_B[b] < last
                arrived.time_B[b] = max(arrived.time_B[b], last)
            out.late[b] = arrived.time_B[b] < last
            out.double[b] = arrived.time_B[b] == last and _same(row_Q, at, arrived.values_BD[b], arrived.codes_BC[b])
            left_out += out.late[b] or out.double[b]
        first_due = min(
            row_Q[at.timers.silence_at], row_Q[at.timers.retire_at], row_Q[at.timers.seen_at] + waits.forget
        )
        out.due[b] = row_Q[at.seen] > 0 and (watermark >= first_due or row_Q[at.episode_open + SILENCE] > 0)
        due += out.due[b]
    return left_out, due


@compiled
def _same(row_Q: Float64, at: At, values_D: Float64, codes_C: Int64) -> bool:
    for d in range(len(values_D)):
        value, last = values_D[d], row_Q[at.event_values + d]
        if value != last and not (isnan(value) and isnan(last)):
            return False
    for c in range(len(codes_C)):  # noqa: SIM110 - compiled code has no generators
        if codes_C[c] != row_Q[at.last_codes + c]:
            return False
    return True


@compiled
def begin(statistics_BQ: Float64, at: At, arrived: Arrived, waits: Waits, out: Begun, open_E: Int64) -> None:
    """Before its value is looked at. `open_E` counts the rows that have an episode of each kind open, or one accepted."""
    for b in range(len(statistics_BQ)):
        row_Q, typical = statistics_BQ[b], statistics_BQ[b, at.timers.gaps.mean]
        follows = row_Q[at.seen] > 0 and not arrived.late_B[b]
        out.gap[b], out.typical_gap[b] = arrived.time_B[b] - row_Q[at.last_time] if follows else nan, typical
        out.apart[b] = timers.apart(row_Q, at.timers, out.gap[b], waits)
        out.threshold[b] = timers.threshold(typical, waits)
        out.moved[b] = feedback.moved(row_Q, at.feedback, out.threshold[b])
        odd = row_Q[at.episode_open + PATTERN] > 0 or row_Q[at.episode_open + STUCK] > 0
        out.pace[b] = PACE_IN_EPISODE if odd or row_Q[at.withheld] > 0 else 1.0
        for kind in range(len(open_E)):
            open_E[kind] += row_Q[at.episode_open + kind] > 0 or row_Q[at.episode_accepted + kind] > 0


@compiled
def leave(statistics_BQ: Float64, at: At, arrived: Arrived, gap_B: Float64, waits: Waits) -> None:
    """After all is told: labels take hold, the timers are set anew, and the event is the stream's last."""
    for b in range(len(statistics_BQ)):
        row_Q, time = statistics_BQ[b], arrived.time_B[b]
        feedback.settle(row_Q, at.feedback, row_Q[at.episode_open + PATTERN] > 0)
        if row_Q[at.seen] == WHOLE_GAPS + 1.0 and timers.strayed(row_Q, at.timers, gap_B[b]):
            row_Q[at.first_time] = row_Q[at.last_time]
        timers.beat(row_Q, at.timers, max(time, arrived.watermark_B[b]), gap_B[b], waits)
        if row_Q[at.seen] == 0:
            row_Q[at.first_time] = time
        row_Q[at.seen] += 1.0
        row_Q[at.last_time], row_Q[at.last_offset] = time, arrived.offset_B[b]
        row_Q[at.last_index] = arrived.index_B[b]
        for d in range(arrived.values_BD.shape[1]):
            row_Q[at.event_values + d] = arrived.values_BD[b, d]
        for c in range(arrived.codes_BC.shape[1]):
            row_Q[at.last_codes + c] = arrived.codes_BC[b, c]
