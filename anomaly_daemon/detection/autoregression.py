"""Autoregression evidence: how well a field's value follows from the stream's own last values, by a linear prediction
that each field learns for itself.

The network is the same for all streams. What is peculiar to one stream, such as a hum at its own pitch or its way of
returning from a step, is better described by an autoregression of its own values. The weights follow from how values
correlate with those `k` values before them (the Yule-Walker equations, solved by the recursion of Levinson, 1947, and
Durbin, 1960). Evidence is the moving average of the squared prediction errors, divided by the error variance that this
model implies.

A missing value leaves no gap: the last values are the last ones that were present.

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
"""Number of last values from which the next one is predicted."""

KNOWN_AFTER, TRUSTED_AFTER = 50, 100
"""Number of values before there is a prediction, and before its error counts as evidence."""

EVERY = 32
"""Number of values between two solutions of the equations."""

RIDGE = 0.01
"""Added to the variance, which is about 1: a tenth of a standard deviation may be noise."""

STEEPEST = 0.9999
"""Largest absolute partial correlation. It needs a bound because products averaged over a fading memory are not quite
those of a stationary series."""

WINSOR = 5.0
"""A value further from its level than this many standard deviations counts as if it were this far."""

SQUARE_WINSOR = 100.0
"""A squared error counts as at most this many times the usual one."""

EVENTS = 16.0
"""The window of the moving average."""


class At(NamedTuple):
    """Where each of these columns starts in a row. The first three are carried, with one line for each field; the
    others are statistics [D]."""

    products: int
    """The mean product of a value and the one `k` values before it, for k from 0 to `ORDER`."""
    weights: int
    """The weight of each of the last values in the prediction."""
    recent: int
    """The last values, the newest first, in standard deviations. After a long gap all are NaN, and the oldest places
    stay NaN until enough values have come."""
    error: int
    """The variance of the prediction error."""
    slow: int
    """The moving average of the squared prediction error, in units of that variance."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


class Met(NamedTuple):
    """The result for one value; NaN where nothing is known."""

    slow: float
    """Moving average of the squared errors, in units of the usual squared error."""
    expected: float
    """The predicted value, in standard deviations from the level."""
    scale: float
    """The standard deviation of the values about the prediction."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row needs for this module: (carried, statistics)."""
    lengths = {"products": ORDER + 1, "weights": ORDER, "recent": ORDER}
    carried = [Column(f"autoregression_{name}", (numeric, length)) for name, length in lengths.items()]
    return carried, [Column(f"autoregression_{name}", (numeric,)) for name in At._fields[3:]]


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    return At(*(layout.start(f"autoregression_{name}") for name in At._fields))


@compiled
def begin(carried_P: Float32, row_Q: Float64, at: At, d: int) -> None:
    """Reset what is known of field `d`."""
    row_Q[at.count + d] = row_Q[at.slow + d] = row_Q[at.error + d] = 0.0
    for place in (at.products + d * (ORDER + 1), at.weights + d * ORDER, at.recent + d * ORDER):
        for k in range(ORDER):
            carried_P[place + k] = 0.0
    carried_P[at.products + d * (ORDER + 1) + ORDER] = 0.0


@compiled
def meet(
    carried_P: Float32, row_Q: Float64, at: At, d: int, z: float, slowest: float, sides: Sides, window: Window
) -> Met:
    """Compare a value of field `d` with its prediction from the values before it, and learn it. `z`: the value in
    standard deviations from its level; NaN where there is none. `slowest`: the learning rate of a full memory, 1 /
    memory."""
    if isnan(z):
        return Met(nan, nan, nan)
    count, z = row_Q[at.count + d], errors.curbed(sides, d, min(max(z, -WINSOR), WINSOR))
    slow, expected, scale = nan, nan, nan
    if interrupted(carried_P, at, d):
        _remember(carried_P, at, d, z)
        return Met(nan, nan, nan)
    if count >= KNOWN_AFTER:
        if row_Q[at.error + d] == 0.0 or count % EVERY == 0:
            row_Q[at.error + d] = _solve(carried_P, at.products + d * (ORDER + 1), at.weights + d * ORDER)
        last, error = float(carried_P[at.recent + d * ORDER]), row_Q[at.error + d]
        expected = errors.returned(sides, d, last, _expect(carried_P, at, d))
        off = errors.counted(sides, d, z - expected)
        slow = moved(row_Q, at.slow + d, min(off * off / error, SQUARE_WINSOR), window)
        scale = sqrt(error)
    _learn(carried_P, at, d, z, count, slowest)
    _remember(carried_P, at, d, z)
    row_Q[at.count + d] = count + 1.0
    return Met(slow if count >= TRUSTED_AFTER else nan, expected, scale)


@compiled
def interrupted(carried_P: Float32, at: At, d: int) -> bool:
    """Return whether some of the last values of field `d` were forgotten because of a long gap (`interruption`) and
    have not been replaced yet."""
    return isnan(carried_P[at.recent + d * ORDER + ORDER - 1])


@compiled
def _expect(carried_P: Float32, at: At, d: int) -> float:
    """Return the prediction for field `d`. Four partial sums, each of every fourth term, because the additions of a
    single sum would have to wait for one another."""
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
    """Update the mean products of the value with itself and with the values before it."""
    products, recent = at.products + d * (ORDER + 1), at.recent + d * ORDER
    value, rate = np.float32(z), np.float32(max(1.0 / (count + 1.0), slowest))
    product_K, recent_K = carried_P[products : products + ORDER + 1], carried_P[recent : recent + ORDER]
    product_K[0] += rate * (value * value - product_K[0])
    for k in range(ORDER):
        product_K[k + 1] += rate * (value * recent_K[k] - product_K[k + 1])


@compiled
def _remember(carried_P: Float32, at: At, d: int, z: float) -> None:
    """Put the value in front of the last values, and drop the oldest."""
    recent_K = carried_P[at.recent + d * ORDER : at.recent + (d + 1) * ORDER]
    for k in range(ORDER - 1, 0, -1):
        recent_K[k] = recent_K[k - 1]
    recent_K[0] = z


@compiled
def _solve(carried_P: Float32, products: int, weights: int) -> float:
    """Compute the weights from the mean products, and return the variance that they leave unexplained."""
    error = float(carried_P[products]) + RIDGE
    for m in range(ORDER):
        unexplained = float(carried_P[products + m + 1])
        for i in range(m):
            unexplained -= float(carried_P[weights + i]) * float(carried_P[products + m - i])
        partial = min(max(unexplained / error, -STEEPEST), STEEPEST)
        for i in range((m + 1) // 2):  # from both ends at once
            one, other = float(carried_P[weights + i]), float(carried_P[weights + m - 1 - i])
            carried_P[weights + i], carried_P[weights + m - 1 - i] = one - partial * other, other - partial * one
        carried_P[weights + m] = partial
        error = max(error * (1.0 - partial * partial), RIDGE)
    return error
