"""A value against what the stream's own last ones make of it: a linear prediction that each field learns by itself.

The network is the same for all streams. What is peculiar to one of them, a hum at its own pitch or the way that it comes
back from a step, an autoregression of its own values knows better: its weights follow from how values hang on those that
came `k` before (the Yule-Walker equations, solved by Levinson's and Durbin's recursion, 1947 and 1960). Evidence is the
moving average of its squared errors, in what they are by that law.

Values that are missing leave no gap: the last ones are those that there were.

Shapes: P carried numbers and Q statistics of a row.
"""

from __future__ import annotations

from math import isnan, nan, sqrt
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import errors
from anomaly_daemon.detection.averages import Window, moved
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.state import Column, StateLayout

ORDER = 24
"""Values that the next one is predicted from."""

KNOWN_AFTER, TRUSTED_AFTER = 50, 100
"""Values before there is a prediction, and before its error counts."""

EVERY = 32
"""Values between two solutions."""

RIDGE = 0.01
"""Added to the variance, which is about 1: what a tenth of a deviation may be noise."""

STEEPEST = 0.9999
"""The largest partial correlation: products over a fading memory are not quite those of a stationary series."""

WINSOR = 5.0
"""A value further off its level than this many deviations is taken for this far."""

SQUARE_WINSOR = 100.0
"""And a squared error for at most so many usual ones."""

EVENTS = 16.0
"""The window of the moving average."""


class At(NamedTuple):
    """Where a row has them. Among what is carried, a row of each a field:"""

    products: int
    """The mean product of a value and that `k` before it, k from 0 to `ORDER` ..."""
    weights: int
    """... what each of the last ones counts for ..."""
    recent: int
    """... and those, the newest first: in deviations; NaN, the oldest last, until all of them came after a gap."""
    error: int
    """The variance of an error."""
    slow: int
    """The moving average of its square."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


class Met(NamedTuple):
    """Of a value; NaN where nothing is known."""

    slow: float
    """Moving average of the squared errors, in usual ones."""
    expected: float
    """In deviations from the level."""
    scale: float
    """The standard deviation of what comes from that."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    lengths = {"products": ORDER + 1, "weights": ORDER, "recent": ORDER}
    carried = [Column(f"autoregression_{name}", (numeric, length)) for name, length in lengths.items()]
    return carried, [Column(f"autoregression_{name}", (numeric,)) for name in At._fields[3:]]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"autoregression_{name}") for name in At._fields))


@compiled
def begin(carried_P: Float32, row_Q: Float64, at: At, d: int) -> None:
    """Of field `d` anew."""
    row_Q[at.count + d] = row_Q[at.slow + d] = row_Q[at.error + d] = 0.0
    for place in (at.products + d * (ORDER + 1), at.weights + d * ORDER, at.recent + d * ORDER):
        for k in range(ORDER):
            carried_P[place + k] = 0.0
    carried_P[at.products + d * (ORDER + 1) + ORDER] = 0.0


@compiled
def meet(
    carried_P: Float32, row_Q: Float64, at: At, d: int, z: float, slowest: float, sides: Sides, window: Window
) -> Met:
    """Hold a value of field `d` against those before it, and learn it. `z`: in deviations from its level; NaN where there
    is none. `slowest`: one over the memory."""
    if isnan(z):
        return Met(nan, nan, nan)
    count, z = row_Q[at.count + d], min(max(z, -WINSOR), WINSOR)
    slow, expected, scale = nan, nan, nan
    if interrupted(carried_P, at, d):
        _remember(carried_P, at, d, z)
        return Met(nan, nan, nan)
    if count >= KNOWN_AFTER:
        if row_Q[at.error + d] == 0.0 or count % EVERY == 0:
            row_Q[at.error + d] = _solve(carried_P, at.products + d * (ORDER + 1), at.weights + d * ORDER)
        expected, error = _expect(carried_P, at, d), row_Q[at.error + d]
        off = errors.counted(sides, d, z - expected)
        slow = moved(row_Q, at.slow + d, min(off * off / error, SQUARE_WINSOR), window)
        scale = sqrt(error)
    _learn(carried_P, at, d, z, count, slowest)
    _remember(carried_P, at, d, z)
    row_Q[at.count + d] = count + 1.0
    return Met(slow if count >= TRUSTED_AFTER else nan, expected, scale)


@compiled
def interrupted(carried_P: Float32, at: At, d: int) -> bool:
    """Whether some of the last values of field `d` are of before a gap (`interruption`), and forgotten."""
    return isnan(carried_P[at.recent + d * ORDER + ORDER - 1])


@compiled
def _expect(carried_P: Float32, at: At, d: int) -> float:
    """Four sums, of every fourth term each: one after the other they would wait for each other."""
    weights, recent = at.weights + d * ORDER, at.recent + d * ORDER
    weight_K, recent_K = carried_P[weights : weights + ORDER], carried_P[recent : recent + ORDER]
    first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    for k in range(0, ORDER, 4):
        first += weight_K[k] * recent_K[k]
        second += weight_K[k + 1] * recent_K[k + 1]
        third += weight_K[k + 2] * recent_K[k + 2]
        fourth += weight_K[k + 3] * recent_K[k + 3]
    return (first + second) + (third + fourth)


@compiled
def _learn(carried_P: Float32, at: At, d: int, z: float, count: float, slowest: float) -> None:
    """The value's product with itself and with those before it."""
    products, recent = at.products + d * (ORDER + 1), at.recent + d * ORDER
    value, rate = np.float32(z), np.float32(max(1.0 / (count + 1.0), slowest))
    product_K, recent_K = carried_P[products : products + ORDER + 1], carried_P[recent : recent + ORDER]
    product_K[0] += rate * (value * value - product_K[0])
    for k in range(ORDER):
        product_K[k + 1] += rate * (value * recent_K[k] - product_K[k + 1])


@compiled
def _remember(carried_P: Float32, at: At, d: int, z: float) -> None:
    """The value is the newest of the last."""
    recent_K = carried_P[at.recent + d * ORDER : at.recent + (d + 1) * ORDER]
    for k in range(ORDER - 1, 0, -1):
        recent_K[k] = recent_K[k - 1]
    recent_K[0] = z


@compiled
def _solve(carried_P: Float32, products: int, weights: int) -> float:
    """The weights that follow from the products; the variance of what they leave unexplained."""
    error = float(carried_P[products]) + RIDGE
    for m in range(ORDER):
        told = float(carried_P[products + m + 1])
        for i in range(m):
            told -= float(carried_P[weights + i]) * float(carried_P[products + m - i])
        partial = min(max(told / error, -STEEPEST), STEEPEST)
        for i in range((m + 1) // 2):  # from both ends at once
            one, other = float(carried_P[weights + i]), float(carried_P[weights + m - 1 - i])
            carried_P[weights + i], carried_P[weights + m - 1 - i] = one - partial * other, other - partial * one
        carried_P[weights + m] = partial
        error = max(error * (1.0 - partial * partial), RIDGE)
    return error
