"""Mean and standard deviation of a statistic of a stream over a long memory: what is usual for that stream.

A short memory would take the beginning of a long anomaly, or yesterday alone, for the norm. Here the memory is several
times the normaliser's. Updates are winsorised, so an outlier moves the estimates little, and an anomaly of a day moves
them a little. There is no other protection: if nothing were learned while an episode is open, the episode of a stream
that has changed would stay open.

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
"""Number of values before the standard deviation counts as known; until then no value is unusual."""

WINSOR = 5.0
"""A value further than this many standard deviations from the mean is learned as if it were exactly this far."""

WINSOR_AFTER = 30
"""Number of values before a value may be treated as an outlier."""


class At(NamedTuple):
    """Where a row stores these statistics: the index of the first number of each."""

    mean: int
    variance: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(name: str, shape: tuple[int, ...]) -> list[Column]:
    """Return the columns that a row must have for statistics of this name and shape."""
    return [Column(f"{name}_{part}", shape) for part in At._fields]


def at(layout: StateLayout, name: str) -> At:
    """Return where rows of this layout store the statistics of this name."""
    return At(*(layout.start(f"{name}_{part}") for part in At._fields))


@compiled
def scale(row_Q: Float64, at: At, i: int, floor: float) -> float:
    """Return the standard deviation of the i-th statistic, which is at least `floor` and never 0."""
    return max(sqrt(row_Q[at.variance + i]), floor, resolution.ABSOLUTE)


@compiled
def begin(row_Q: Float64, at: At, i: int, mean: float, variance: float, count: float) -> None:
    """Reset the i-th statistic to this mean and variance, as if learned from `count` values."""
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
    """Learn a value, and return its distance from the mean before it, in standard deviations (`scale`). The distance is
    0 while too little is known. It is NaN where `x` is NaN, and then nothing is learned. `slowest`: one over the
    memory. `winsor`: the most standard deviations that an outlier is learned as."""
    if isnan(x):
        return nan
    count, off = row_Q[at.count + i] + 1.0, x - row_Q[at.mean + i]
    reach = winsor * scale if count > WINSOR_AFTER else inf
    step, rate = min(max(off, -reach), reach), slowest if count * slowest > 1.0 else 1.0 / count
    row_Q[at.mean + i] += rate * step
    row_Q[at.variance + i] = (1.0 - rate) * (row_Q[at.variance + i] + rate * step**2)
    row_Q[at.count + i] = count
    return off / scale if count > KNOWN_AFTER else 0.0
