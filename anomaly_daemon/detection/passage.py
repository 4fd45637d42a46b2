"""Copies one event of each row into the network's buffers, and the network's output out of them, row by row.

Shapes: B rows, D numeric and C categorical features, G network rows a stream, M = B x G network rows, V = D / G values
a network row, R reconstructed events, X context inputs, K classes of all fields together.
"""

from __future__ import annotations

from math import isnan, nan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.network import CONTEXT, LOG_SCALE_RANGE
from anomaly_daemon.detection.observation import Float32, Float64, Int64
from anomaly_daemon.detection.state import StateLayout


class At(NamedTuple):
    """Where a row stores its recent events."""

    window: int
    time: int
    codes: int


class Moment(NamedTuple):
    """One event of each row, as the detector receives it."""

    time_B: Int64
    gap_B: Float64
    """Microseconds since the stream's last event; NaN for its first, for one that came late, and after a long gap (set
    by `interruption`)."""
    typical_gap_B: Float64
    values_BD: Float64
    """Untransformed, except that counters are rates; NaN where there is no value."""
    codes_BC: Int64
    pace_B: Float64
    """How much is learned from this event, 0 to 1."""
    apart_B: npt.NDArray[np.bool_]
    """Whether the event comes after a long gap (`interruption`)."""


class Columns(NamedTuple):
    """Where a buffer holds the parts of an event: the first column of each."""

    values: int
    mask: int
    context: int
    latest: int


class Entering(NamedTuple):
    """The network's input for one event of each row."""

    y_BD: Float32
    """Normalised values; 0 where there is none."""
    mask_BD: Float32
    latest_BD: Float32
    """Normalised values of the event before; NaN where there is none."""
    context_BX: Float32
    classes_BC: Int64

    def part(self, which: slice) -> Entering:
        """Return the input of some rows."""
        return Entering(
            self.y_BD[which],
            self.mask_BD[which],
            self.latest_BD[which],
            self.context_BX[which],
            self.classes_BC[which],
        )


class Passed(NamedTuple):
    """The network's output for one event of each row: predicted before the event, rebuilt after it."""

    location_BD: Float64
    log_scale_BD: Float64
    logits_BK: Float64
    rebuilt_BRD: Float32

    @classmethod
    def blank(cls, rows: int, numeric: int, classes: int, events: int) -> Self:
        """Return uninitialised arrays for `rows` rows."""
        location_BD, log_scale_BD = np.empty((rows, numeric)), np.empty((rows, numeric))
        rebuilt_BRD = np.empty((rows, events, numeric), np.float32)
        return cls(location_BD, log_scale_BD, np.empty((rows, classes)), rebuilt_BRD)

    def logits(self, classes: tuple[int, ...]) -> list[Float64]:
        """Return the logits of each categorical field, [B, K]."""
        return np.split(self.logits_BK, np.cumsum(classes)[:-1], axis=1)

    def part(self, which: slice) -> Passed:
        """Return the output of some rows, as views: writing to them writes here."""
        return Passed(self.location_BD[which], self.log_scale_BD[which], self.logits_BK[which], self.rebuilt_BRD[which])


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store their recent events."""
    return At(layout.start("window"), layout.start("window_time"), layout.start("window_codes"))


@compiled
def enter(entering: Entering, groups: int, values: int, at: Columns, entered_MI: Float32) -> None:
    """Write values, masks, context and latest values of each network row into the buffer."""
    for b in range(len(entering.y_BD)):
        for g in range(groups):
            row_I = entered_MI[b * groups + g]
            for x in range(CONTEXT):
                row_I[at.context + x] = entering.context_BX[b, x]
            for v in range(values):
                d = g * values + v
                row_I[at.values + v], row_I[at.mask + v] = entering.y_BD[b, d], entering.mask_BD[b, d]
                row_I[at.latest + v] = _or_zero(entering.latest_BD[b, d])


@compiled
def take(
    predicted_MO: Float32, rebuilt_MO: Float32, latest_BD: Float32, groups: int, values: int, passed: Passed
) -> None:
    """Read the output of both heads for each network row into `passed`."""
    lowest, highest = LOG_SCALE_RANGE
    for b in range(len(latest_BD)):
        for d in range(groups * values):
            m, v = b * groups + d // values, d % values
            passed.location_BD[b, d] = _or_zero(latest_BD[b, d]) + predicted_MO[m, v]
            passed.log_scale_BD[b, d] = min(max(float(predicted_MO[m, values + v]), lowest), highest)
            for r in range(passed.rebuilt_BRD.shape[1]):
                passed.rebuilt_BRD[b, r, d] = rebuilt_MO[m, r * values + v]
        for k in range(passed.logits_BK.shape[1]):
            passed.logits_BK[b, k] = predicted_MO[b, 2 * values + k]


@compiled
def _or_zero(value: np.float32) -> np.float32:
    return np.float32(0.0) if isnan(value) else value


@compiled
def remember(
    carried_BP: Float32, statistics_BQ: Float64, at: At, moment: Moment, y_BD: Float32, mask_BD: Float32, kept: int
) -> None:
    """Store the event as the newest of each row's recent events. The newest comes first, and the oldest is dropped."""
    (rows, numeric), fields = y_BD.shape, moment.codes_BC.shape[1]
    for b in range(rows):
        window_P = carried_BP[b, at.window : at.window + kept * numeric]
        _make_room(window_P, numeric)
        for d in range(numeric):
            window_P[d] = y_BD[b, d] if mask_BD[b, d] > 0 else np.float32(nan)
        time_Q = statistics_BQ[b, at.time : at.time + kept]
        _make_room(time_Q, 1)
        time_Q[0] = moment.time_B[b]
        codes_Q = statistics_BQ[b, at.codes : at.codes + kept * fields]
        _make_room(codes_Q, fields)
        for c in range(fields):
            codes_Q[c] = moment.codes_BC[b, c]


@compiled
def _make_room(recent: npt.NDArray[np.floating], newest: int) -> None:
    for place in range(len(recent) - 1, newest - 1, -1):
        recent[place] = recent[place - newest]
