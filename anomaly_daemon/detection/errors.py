"""Errors of the two heads, standardised, and their sum: what an event's score is made of.

Shapes: B rows, D numeric and C categorical features, F = D + C, R reconstructed events, K classes. NaN: not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, log, nan, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.elementary import exp
from anomaly_daemon.detection.observation import Direction, Float64, Numeric

Floats = npt.NDArray[np.floating]
PLAIN = 100.0
"""A squared standardised error counts in full up to this, ten deviations ..."""

BEYOND = 0.1
"""... and past it by its logarithm, this much: a field that always rests makes an error of any size when it moves, and
would drown the others. The order is kept."""

UNCOUNTED = 1.4436
"""Two deviations, squashed: further off to the side that does not count, the network sees no value. After a refund among
payments it would expect the next to be anything, and that is the one to look at."""

LARGEST = 1e100
"""A larger square is taken for this: the score of an absurd value stays finite."""


class Sides(NamedTuple):
    """Which errors count: of a field that is an anomaly on one side only, those on the other are 0."""

    least_D: Float64
    most_D: Float64

    @classmethod
    def of(cls, numeric: Sequence[Numeric]) -> Sides:
        """As the schema says."""
        directions = [feature.direction for feature in numeric]
        return cls(
            np.array([0.0 if one is Direction.ABOVE else -np.inf for one in directions]),
            np.array([0.0 if one is Direction.BELOW else np.inf for one in directions]),
        )


def curb(sides: Sides, y: npt.NDArray[np.float32]) -> None:
    """Normalised values [..., D] as the network is to see them."""
    above_D, below_D = sides.least_D == 0.0, sides.most_D == 0.0
    if above_D.any() or below_D.any():
        least_D, most_D = np.where(above_D, -UNCOUNTED, -np.inf), np.where(below_D, UNCOUNTED, np.inf)
        np.clip(y, least_D.astype(y.dtype), most_D.astype(y.dtype), out=y)


@compiled
def sided(sides: Sides, d: int) -> bool:
    """Whether feature `d` has one side only."""
    return bool(sides.least_D[d] == 0.0 or sides.most_D[d] == 0.0)


@compiled
def counted(sides: Sides, d: int, signed: float) -> float:
    """A signed error of feature `d`; 0 where it does not count. NaN stays."""
    return signed if isnan(signed) else min(max(signed, sides.least_D[d]), sides.most_D[d])


@compiled
def counted_of_head(sides: Sides, head: int, f: int, standard: float) -> float:
    """A standardised error of either head. One of reconstruction is of the side already; a small one is no anomaly."""
    if f >= len(sides.least_D):
        return standard
    if head == 0:
        return counted(sides, f, standard)
    return 0.0 if sided(sides, f) and standard < 0.0 else standard


@compiled
def prediction_error(y: float, location: float, spread: float) -> tuple[float, float]:
    """The signed error in units of the predicted scale, and in deviations of the stream's own.

    The network's values are squashed, asinh(z), and so is its scale (`spread`), which is that of z times the slope there.
    The error is not: a value a hundred deviations off is an error of a hundred.
    """
    above, at = exp(y), exp(location)
    off = 0.5 * ((above - 1.0 / above) - (at - 1.0 / at))  # of the hyperbolic sines ...
    return off / (0.5 * (at + 1.0 / at) * spread), off  # ... over the cosine


def category_errors(log_share_BK: Float64, class_B: Float64) -> Float64:
    """The deviance residual (McCullagh and Nelder 1989) against the likeliest class, [B]: 0 where it came, and never
    negative. `class_B` is NaN where the field is missing."""
    known = ~np.isnan(class_B)
    chosen = np.take_along_axis(log_share_BK, np.where(known, class_B, 0).astype(np.int64)[:, None], axis=1)[:, 0]
    return np.where(known, np.sqrt(2.0 * np.maximum(log_share_BK.max(axis=1) - chosen, 0.0)), np.nan)


@compiled
def reconstruction_errors(
    window_RD: Floats, rebuilt_RD: Floats, sides: Sides, there_D: Float64, found_D: Float64
) -> None:
    """Root mean square over the recent window of what the state alone rebuilds wrongly of each feature, into `found_D`;
    `there_D` becomes over how many events. Feature by feature in the inner loop: that takes several at once."""
    for d in range(len(found_D)):
        there_D[d], found_D[d] = 0.0, 0.0
    for r in range(len(window_RD)):
        known_D, told_D = window_RD[r], rebuilt_RD[r]
        for d in range(len(found_D)):
            off = float(known_D[d]) - float(told_D[d])
            off = min(max(off, sides.least_D[d]), sides.most_D[d])
            found_D[d] += 0.0 if isnan(known_D[d]) else off * off
        for d in range(len(found_D)):
            there_D[d] += 0.0 if isnan(known_D[d]) else 1.0
    for d in range(len(found_D)):
        found_D[d] = sqrt(found_D[d] / there_D[d]) if there_D[d] > 0 else nan


def or_zero(values: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """0 where nothing is known."""
    return np.where(np.isnan(values), values.dtype.type(0), values)


@compiled
def weigh(error_2F: Float64, prediction_weight: float) -> None:
    """Make standardised errors each head's and feature's part of the score: the parts add up to it, so shares are exact.

    A head's weight is spread evenly over its known features; where one head knows nothing the other has all the
    weight. Unknown parts are 0, and all are NaN when no head knows anything.
    """
    there, weights = (known(error_2F[0]), known(error_2F[1])), (prediction_weight, 1.0 - prediction_weight)
    total = weights[0] * (there[0] > 0) + weights[1] * (there[1] > 0)
    if there[0] + there[1] == 0:
        return
    for head in range(2):
        # a head that knows something, and weighs nothing, is heard where the other knows nothing
        weight = weights[head] / total if total > 0 else 1.0
        for f in range(error_2F.shape[1]):
            error = error_2F[head, f]
            error_2F[head, f] = 0.0 if isnan(error) else weight / there[head] * _told(error**2)


@compiled
def _told(square: float) -> float:
    """What a squared error counts for."""
    return square if square <= PLAIN else PLAIN * (1.0 + BEYOND * log(min(square, LARGEST) / PLAIN))


@compiled
def known(values: Float64) -> int:
    """How many are."""
    count = 0
    for value in values:
        count += not isnan(value)
    return count
