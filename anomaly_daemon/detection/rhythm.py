"""How strongly a field keeps to the clock: the share of its variance that the time of day and of the week leave
unexplained.

The squares of the residuals (`season`), in standard deviations of the level, are averaged. Each counts up to the same
limit as in the level's own variance, so that the two can be compared where single values are far off.

Shapes: Q statistics of a row, D numeric features.
"""

from __future__ import annotations

from math import isnan
from typing import NamedTuple

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import moments
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, StateLayout

SETTLES = 30.0
"""Number of residuals after which half of the explained share counts."""


LEAST = 1e-6
"""The least share: a part of the whole can be divided by it."""


class At(NamedTuple):
    """Where a row stores each, [D]."""

    left: int
    """The mean square of the residuals."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(numeric: int) -> list[Column]:
    """Return the columns that a row must have."""
    return [Column("rhythm_left", (numeric,)), Column("rhythm_count", (numeric,))]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    return At(layout.start("rhythm_left"), layout.start("rhythm_count"))


@compiled
def meet(row_Q: Float64, at: At, d: int, off: float, scale: float, slowest: float, pace: float) -> None:
    """Learn a residual of feature `d`, in the same units as `scale`, the standard deviation of the level. NaN: none.
    `slowest`: one over the memory."""
    if isnan(off) or pace == 0.0:
        return
    standard = min(abs(off) / scale, moments.WINSOR)
    count = row_Q[at.count + d] = row_Q[at.count + d] + pace
    rate = slowest if count * slowest > 1.0 else 1.0 / count
    row_Q[at.left + d] += rate * pace * (standard**2 - row_Q[at.left + d])


@compiled
def begin(row_Q: Float64, at: At, d: int) -> None:
    """Reset feature `d`."""
    row_Q[at.left + d] = row_Q[at.count + d] = 0.0


@compiled
def left(row_Q: Float64, at: At, d: int) -> float:
    """Return the share of the variance that is left, from just above 0 to 1; nearer to 1 while few residuals are
    known."""
    count = row_Q[at.count + d]
    explained = 1.0 - min(row_Q[at.left + d], 1.0)
    return float(max(1.0 - explained * count / (count + SETTLES), LEAST))
