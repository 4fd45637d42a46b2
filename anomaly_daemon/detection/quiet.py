"""How much a value moves, where that is less than usual: a sensor that freezes and still hums, a load that has gone.

The size of a step is taken by its square root, of which moving averages are not ruled by the few large ones: what counts is
that most steps have become small. Evidence is the logarithm of how many times smaller than usual they are.

A field that rests at most events says nothing by resting. How often it does is kept here, for others to ask (`relation`).

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
"""Steps before what is usual is known."""

RESTS = 0.5
"""The largest share of events in which a field is as it was before."""

SAME = 1e-6
"""It has moved when it did by more than this many deviations."""

WINSOR = sqrt(5.0)
"""A step's root counts as at most so many usual ones ..."""

WINSOR_AFTER = 3
"""... once it is more than the first few."""

LEAST = 1e-3
"""Of the usual root: a field that moves less is at rest."""


class At(NamedTuple):
    """Where a row has them: the place of the first of each."""

    usual: int
    """The mean root of a step's size, over the long memory ..."""
    slow: int
    """... and over the last events."""
    rests: int
    """The share of events in which a field is as it was."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(numeric: int) -> list[Column]:
    """What a row must hold."""
    return [Column(f"quiet_{name}", (numeric,)) for name in At._fields]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"quiet_{name}") for name in At._fields))


@compiled
def begin(row_Q: Float64, at: At, d: int) -> None:
    """Anew: the values before were of another kind."""
    row_Q[at.usual + d] = row_Q[at.slow + d] = row_Q[at.rests + d] = row_Q[at.count + d] = 0.0


@compiled
def meet(row_Q: Float64, at: At, d: int, step: float, scale: float, slowest: float, window: Window) -> float:
    """The logarithm of how many times smaller than usual the last steps of field `d` are, 0 where they are not; NaN where
    there is no step, or nothing to hold it against. `scale`: the field's standard deviation; `slowest`: one over the
    memory."""
    if isnan(step):
        return nan
    count, usual, root = row_Q[at.count + d] + 1.0, row_Q[at.usual + d], sqrt(abs(step))
    if count > WINSOR_AFTER and usual > 0.0:
        root = min(root, WINSOR * usual)
    first = 1.0 / count
    usual += max(2.0 / (count + 1.0), slowest) * (root - usual)  # of the first ones soon little is left
    slow = row_Q[at.slow + d] + max(first, window.rate) * (root - row_Q[at.slow + d])
    rested = 1.0 if abs(step) <= SAME * scale else 0.0
    row_Q[at.rests + d] += max(first, slowest) * (rested - row_Q[at.rests + d])
    row_Q[at.usual + d], row_Q[at.slow + d], row_Q[at.count + d] = usual, slow, count
    if count <= TRUSTED_AFTER or usual <= 0.0 or row_Q[at.rests + d] >= RESTS:
        return nan
    return max(2.0 * log(usual / max(slow, LEAST * usual)), 0.0)


@compiled
def sizes(row_Q: Float64, at: At, d: int) -> tuple[float, float]:
    """Of a step of field `d`, usually and in the last events."""
    usual, slow = row_Q[at.usual + d], row_Q[at.slow + d]
    return usual * usual, slow * slow
