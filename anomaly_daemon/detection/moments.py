"""Mean and standard deviation of something a stream shows, over a long memory: what is usual for it.

A short memory takes the beginning of a long anomaly, or yesterday alone, for the norm; here the memory is several times
the normaliser's. Updates are winsorised, so an outlier moves them little, and an anomaly of a day a little. That is all the
protection they have: were they to learn nothing while an episode is open, a stream that has changed would stay open.
Shapes: Q statistics of a row.
"""

from __future__ import annotations

from math import inf, isnan, nan, sqrt
from typing import NamedTuple

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import resolution
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, StateLayout

KNOWN_AFTER = 8
"""Values before there is a standard deviation; until then nothing is unusual."""

WINSOR = 5.0
"""A value further than this many standard deviations off teaches as if it were this far."""

WINSOR_AFTER = 30
"""Values before one is called an outlier."""


class At(NamedTuple):
    """Where a row has them: the place of the first of each."""

    mean: int
    variance: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(name: str, shape: tuple[int, ...]) -> list[Column]:
    """What a row must hold."""
    return [Column(f"{name}_{part}", shape) for part in At._fields]


def at(layout: StateLayout, name: str) -> At:
    """Where the rows of this layout hold those of this name."""
    return At(*(layout.start(f"{name}_{part}") for part in At._fields))


@compiled
def scale(row_Q: Float64, at: At, i: int, floor: float) -> float:
    """The standard deviation of the i-th, never below the floor, never 0."""
    return max(sqrt(row_Q[at.variance + i]), floor, resolution.ABSOLUTE)


@compiled
def begin(row_Q: Float64, at: At, i: int, mean: float, variance: float, count: float) -> None:
    """Anew, with what so many values have shown."""
    row_Q[at.mean + i], row_Q[at.variance + i], row_Q[at.count + i] = mean, variance, count


@compiled
def meet(
    row_Q: Float64,
    at: At,
    i: int,
    x: float,
    scale: float,
    slowest: float,
    winsor: float = WINSOR,
) -> float:
    """Take a value in. Its distance from the mean before it, in standard deviations (`scale`): 0 while too little is known,
    NaN where `x` is, which teaches nothing. `slowest`: one over the memory. `winsor`: how many an outlier teaches as."""
    if isnan(x):
        return nan
    count, off = row_Q[at.count + i] + 1.0, x - row_Q[at.mean + i]
    reach = winsor * scale if count > WINSOR_AFTER else inf
    step, rate = min(max(off, -reach), reach), slowest if count * slowest > 1.0 else 1.0 / count
    row_Q[at.mean + i] += rate * step
    row_Q[at.variance + i] = (1.0 - rate) * (row_Q[at.variance + i] + rate * step**2)
    row_Q[at.count + i] = count
    return off / scale if count > KNOWN_AFTER else 0.0
