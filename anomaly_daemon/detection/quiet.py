"""How little a value moves compared with what is usual: a sensor that freezes but still hums, a load that has gone.

Each step counts by the square root of its size, so that the few large steps do not dominate the moving averages: what
matters is that most steps have become small. The evidence is the logarithm of how many times smaller than usual the
steps are.

A field that rests (does not move) at half of its events or more gives no evidence by resting. How often each field
rests is kept here, and other modules read it (`relation`).

Shapes: Q statistics of a row.
"""

from __future__ import annotations

from math import isnan, log, nan, sqrt
from typing import NamedTuple

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.averages import Window
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, StateLayout

TRUSTED_AFTER = 200
"""Number of steps before the usual size of a step counts as known."""

RESTS = 0.5
"""A field that rests at this share of its events, or more, gives no evidence."""

SAME = 1e-6
"""A field has moved if its step is larger than this many standard deviations."""

WINSOR = sqrt(5.0)
"""The root of a step's size counts as at most this many usual roots."""

WINSOR_AFTER = 3
"""Number of a field's first steps that the limit does not apply to."""

LEAST = 1e-3
"""The recent root counts as at least this share of the usual root: a field that moves less is at rest."""


class At(NamedTuple):
    """Where a row stores these statistics: the index of the first number of each."""

    usual: int
    """The mean root of a step's size over the long memory."""
    slow: int
    """The mean root over the last events."""
    rests: int
    """The share of events at which the field did not move."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(numeric: int) -> list[Column]:
    """Return the columns that a row must have for `numeric` features."""
    return [Column(f"quiet_{name}", (numeric,)) for name in At._fields]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store these statistics."""
    return At(*(layout.start(f"quiet_{name}") for name in At._fields))


@compiled
def begin(row_Q: Float64, at: At, d: int) -> None:
    """Reset field `d`, because its earlier values were of another kind."""
    row_Q[at.usual + d] = row_Q[at.slow + d] = row_Q[at.rests + d] = row_Q[at.count + d] = 0.0


@compiled
def meet(row_Q: Float64, at: At, d: int, step: float, scale: float, slowest: float, window: Window) -> float:
    """Learn a step of field `d`, and return the logarithm of how many times smaller than usual the last steps are. It
    is 0 where they are not smaller. It is NaN where there is no step, nothing to compare it with, or the field mostly
    rests. `scale`: the field's standard deviation; `slowest`: one over the memory."""
    if isnan(step):
        return nan
    count, usual, root = row_Q[at.count + d] + 1.0, row_Q[at.usual + d], sqrt(abs(step))
    if count > WINSOR_AFTER and usual > 0.0:
        root = min(root, WINSOR * usual)
    first = 1.0 / count
    usual += max(2.0 / (count + 1.0), slowest) * (root - usual)  # the first steps soon count for little
    slow = row_Q[at.slow + d] + max(first, window.rate) * (root - row_Q[at.slow + d])
    rested = 1.0 if abs(step) <= SAME * scale else 0.0
    row_Q[at.rests + d] += max(first, slowest) * (rested - row_Q[at.rests + d])
    row_Q[at.usual + d], row_Q[at.slow + d], row_Q[at.count + d] = usual, slow, count
    if count <= TRUSTED_AFTER or usual <= 0.0 or row_Q[at.rests + d] >= RESTS:
        return nan
    return max(2.0 * log(usual / max(slow, LEAST * usual)), 0.0)


@compiled
def sizes(row_Q: Float64, at: At, d: int) -> tuple[float, float]:
    """Return the usual and the recent size of a step of field `d`."""
    usual, slow = row_Q[at.usual + d], row_Q[at.slow + d]
    return usual * usual, slow * slow
