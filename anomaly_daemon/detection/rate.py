"""Rates of counters. A counter (`bytes_total`) only rises until it is reset, so what matters is how fast it rises. Its
value is replaced by the increase per second since the stream's last value of it.

The rate is missing (NaN) where it is not known: for the first value; for a value that is lower than the last, because
the increase across a restart or an overflow is unknown; and for a value at the same instant as the last, whose increase
is added to the next. It is also missing after a long gap (`interruption`), over which it would be an average of times
that have passed.

Shapes: B rows, T events of one series, D numeric features, C counters among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64, Int64, Numeric, Transform
from anomaly_daemon.detection.state import Column, Rows, StateLayout


class At(NamedTuple):
    """Where a row stores, for each counter, its last value and the time of that value in microseconds."""

    value: int
    time: int


def counters(numeric: Sequence[Numeric]) -> Int64:
    """Return the places of the features that are counters."""
    return np.array([d for d, one in enumerate(numeric) if one.transform is Transform.RATE], np.int64)


def columns(numeric: Sequence[Numeric]) -> list[Column]:
    """Return the columns that a row must have: none where no feature is a counter."""
    count = len(counters(numeric))
    return [Column("counter_value", (count,), nan), Column("counter_time", (count,), nan)] if count else []


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store the counters."""
    return At(layout.start("counter_value"), layout.start("counter_time"))


def per_second(
    rows: Rows, counter_C: Int64, time_B: Float64, apart_B: npt.NDArray[np.bool_], values_BD: Float64
) -> Float64:
    """Return the values, with those of counters replaced by the increase per second. The rows store the counters for
    comparison with the next event."""
    rated_BD = values_BD.copy()
    _rate(rows.statistics_BQ, rows.layout.of(at), counter_C, time_B, apart_B, rated_BD)
    return rated_BD


def of_series(numeric: Sequence[Numeric], time_T: Int64, values_TD: Float64) -> Float64:
    """Return the same for the events of one stream. Here rates over long gaps are included."""
    counter_C = counters(numeric)
    if not len(counter_C):
        return values_TD
    rated_TD, row_1Q = values_TD.copy(), np.full((1, 2 * len(counter_C)), nan)
    whole, none = np.asarray(time_T, np.float64), np.zeros(1, bool)
    for t in range(len(rated_TD)):
        _rate(row_1Q, At(0, len(counter_C)), counter_C, whole[t : t + 1], none, rated_TD[t : t + 1])
    return rated_TD


@compiled
def _rate(
    statistics_BQ: Float64,
    at: At,
    counter_C: Int64,
    time_B: Float64,
    apart_B: npt.NDArray[np.bool_],
    values_BD: Float64,
) -> None:
    for b in range(len(values_BD)):
        row_Q, time = statistics_BQ[b], time_B[b]
        for c in range(len(counter_C)):
            d = counter_C[c]
            if apart_B[b]:
                row_Q[at.value + c] = row_Q[at.time + c] = nan
            value, last, since = values_BD[b, d], row_Q[at.value + c], row_Q[at.time + c]
            values_BD[b, d] = (value - last) / (time - since) * 1e6 if value >= last and time > since else nan
            if not (isnan(value) or time == since):
                row_Q[at.value + c], row_Q[at.time + c] = value, time
