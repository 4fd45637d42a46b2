"""The first and the last step of a round, in which each row receives one event. First: which events are skipped, and
what is known of an event before its value is looked at. Last: what the row keeps of the event.

Shapes: B rows, D numeric and C categorical features, E kinds of episodes, Q statistics of a row.
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
"""Share of the usual learning rate while the stream has an open pattern or stuck episode. A long anomaly must not
become the norm before `accept_seconds` have passed, yet a false one must not last for ever. The same rate applies after
an event that was as improbable as an alarm but too small for one: otherwise a slow slide would have become the norm by
the time it is large."""

WHOLE_GAPS = float(KNOWN_AFTER)
"""Number of first gaps that are learned at full length, because it is not yet known how long the stream's gaps may be.
"""

PATTERN, SILENCE, STUCK = (KINDS.index(kind) for kind in (Kind.PATTERN, Kind.SILENCE, Kind.STUCK))


class At(NamedTuple):
    """Where each of these columns starts in a row of statistics."""

    timers: timers.At
    feedback: feedback.At
    seen: int
    first_time: int
    last_time: int
    last_offset: int
    last_index: int
    last_codes: int
    event_values: int
    """The values of the last event; NaN where it had none."""
    withheld: int
    episode_open: int
    episode_accepted: int


class Arrived(NamedTuple):
    """The event of each row: columns over the rows of a round."""

    time_B: Float64
    """Event time in microseconds. Where late records are accepted, it is raised to the time of the stream's last event
    if it was earlier."""
    watermark_B: Float64
    """The partition's watermark before the event."""
    offset_B: Float64
    index_B: Float64
    values_BD: Float64
    codes_BC: Int64
    late_B: npt.NDArray[np.bool_]
    """Whether the event is older than its stream's last event and is judged as if both had come at the same time."""

    def kept(self, which_B: npt.NDArray[np.bool_]) -> Arrived:
        """Return the events selected by this mask."""
        return Arrived(*(column[which_B] for column in self))  # type: ignore[arg-type]


class Sorted(NamedTuple):
    """How each arrived event is sorted, [B] each."""

    late: npt.NDArray[np.bool_]
    double: npt.NDArray[np.bool_]
    """The event has the same time and values as the event before it."""
    due: npt.NDArray[np.bool_]
    """The row has a timer that is due and must fire first, or a silence episode that this event ends."""

    @classmethod
    def blank(cls, rows: int) -> Self:
        """Return a result for this many rows, all False."""
        return cls(*(np.zeros(rows, bool) for _ in cls._fields))


class Begun(NamedTuple):
    """What is known of an event before its value is looked at, [B] each."""

    gap: Float64
    """Microseconds since the stream's last event; NaN for its first event and for one that came late."""
    typical_gap: Float64
    threshold: Float64
    """The p-value at or below which an event is an alarm, as the budget sets it."""
    moved: Float64
    """The same, moved by the feedback on earlier alerts. It applies to patterns."""
    pace: Float64
    """How much is learned from the event, 0 to 1."""
    apart: npt.NDArray[np.bool_]
    """Whether the event comes after a long gap (`interruption`)."""

    @classmethod
    def blank(cls, rows: int) -> Self:
        """Return uninitialised arrays for this many rows."""
        gap, typical, threshold, moved, pace = (np.empty(rows) for _ in cls._fields[:-1])
        return cls(gap, typical, threshold, moved, pace, np.empty(rows, bool))


def columns(numeric: Sequence[Numeric]) -> list[Column]:
    """Return the columns that a row needs for this module, besides `last_codes`."""
    times = (Column(name) for name in ("seen", "first_time", "last_time", "withheld"))
    return [*times, Column("event_values", (len(numeric),), nan), *rate.columns(numeric)]


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    return At(timers.at(layout), feedback.at(layout), *(layout.start(name) for name in At._fields[2:]))


@compiled
def sort_out(
    statistics_BQ: Float64, at: At, arrived: Arrived, accept_late: bool, waits: Waits, out: Sorted
) -> tuple[int, int]:
    """Sort the events of the rows into `out`. Return how many are skipped (late or duplicate), and how many rows have a
    timer that is due. With `accept_late`, the time of a late event is raised to that of its stream's last event. A
    stream that is due to be forgotten starts from scratch with its event, which is therefore neither late nor double:
    without this, the result would depend on whether a batch ended before the event."""
    left_out, due = 0, 0
    for b in range(len(statistics_BQ)):
        row_Q, watermark = statistics_BQ[b], arrived.watermark_B[b]
        forget_at = row_Q[at.timers.seen_at] + waits.forget
        if row_Q[at.seen] > 0 and watermark < forget_at:
            last = row_Q[at.last_time]
            if accept_late:
                arrived.late_B[b] = arrived.time_B[b] < last
                arrived.time_B[b] = max(arrived.time_B[b], last)
            out.late[b] = arrived.time_B[b] < last
            out.double[b] = arrived.time_B[b] == last and _same(row_Q, at, arrived.values_BD[b], arrived.codes_BC[b])
            left_out += out.late[b] or out.double[b]
        first_due = min(row_Q[at.timers.silence_at], row_Q[at.timers.retire_at], forget_at)
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
    """Compute what is known of each event before its value is looked at, into `out`. Adds to `open_E` the number of
    rows that have an episode of each kind open or accepted."""
    for b in range(len(statistics_BQ)):
        row_Q, typical = statistics_BQ[b], statistics_BQ[b, at.timers.gaps.mean]
        follows = row_Q[at.seen] > 0 and not arrived.late_B[b]
        out.gap[b], out.typical_gap[b] = arrived.time_B[b] - row_Q[at.last_time] if follows else nan, typical
        out.apart[b] = timers.apart(row_Q, at.timers, out.gap[b], waits)
        out.threshold[b] = timers.threshold(typical, waits)
        out.moved[b] = feedback.moved(row_Q, at.feedback, out.threshold[b])
        anomalous = row_Q[at.episode_open + PATTERN] > 0 or row_Q[at.episode_open + STUCK] > 0
        out.pace[b] = PACE_IN_EPISODE if anomalous or row_Q[at.withheld] > 0 else 1.0
        for kind in range(len(open_E)):
            open_E[kind] += row_Q[at.episode_open + kind] > 0 or row_Q[at.episode_accepted + kind] > 0


@compiled
def leave(statistics_BQ: Float64, at: At, arrived: Arrived, gap_B: Float64, waits: Waits) -> None:
    """Finish the event of each row after its alerts have been made: feedback takes effect, the timers are set again,
    and the event becomes the stream's last one."""
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
