"""Standardised errors of the two heads of the network, and their sum, from which an event's score is made.

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
"""A squared standardised error counts in full up to this, which is ten standard deviations."""

BEYOND = 0.1
"""Above `PLAIN`, a squared error counts as `PLAIN` times one plus this times the logarithm of its ratio to `PLAIN`. A
field that always rests makes an error of any size when it moves, and would drown the others. The order of errors is
kept."""

UNCOUNTED_DEVIATIONS = 2.0
UNCOUNTED = 1.4436
"""Two standard deviations, squashed. On the side that does not count, the network sees no value as further off than
this. Otherwise it would expect anything of the payment after a refund, and that payment is the one to look at."""

LARGEST = 1e100
"""A larger squared error counts as this, so that the score of an absurd value is finite."""


class Sides(NamedTuple):
    """The range of errors that count: for a field that is anomalous on one side only, an error on the other side is 0."""

    least_D: Float64
    most_D: Float64

    @classmethod
    def of(cls, numeric: Sequence[Numeric]) -> Sides:
        """Return the range that follows from each feature's `direction`."""
        directions = [feature.direction for feature in numeric]
        return cls(
            np.array([0.0 if one is Direction.ABOVE else -np.inf for one in directions]),
            np.array([0.0 if one is Direction.BELOW else np.inf for one in directions]),
        )


def curb(sides: Sides, y: npt.NDArray[np.float32]) -> None:
    """Clip normalised values [..., D] in place to what the network is to see."""
    above_D, below_D = sides.least_D == 0.0, sides.most_D == 0.0
    if above_D.any() or below_D.any():
        least_D, most_D = np.where(above_D, -UNCOUNTED, -np.inf), np.where(below_D, UNCOUNTED, np.inf)
        np.clip(y, least_D.astype(y.dtype), most_D.astype(y.dtype), out=y)


def expect_return(sides: Sides, window_BRD: Floats, location_BD: Floats, rebuilt_BRD: Floats) -> None:
    """Raise predicted and rebuilt values in place to the usual level, or lower them to it, where `curb` cut off one of
    the last values: a return from the side that does not count is no anomaly. Where it cut off the newest value, what
    is rebuilt counts as right. `window_BRD`: the last values, normalised, the newest first."""
    above_D, below_D = sides.least_D == 0.0, sides.most_D == 0.0
    if above_D.any() or below_D.any():
        limit = np.float32(UNCOUNTED)  # as the window holds it
        cut_BRD = (above_D & (window_BRD <= -limit)) | (below_D & (window_BRD >= limit))
        recently_BD = cut_BRD.any(axis=1)
        for expected, recently in ((location_BD, recently_BD), (rebuilt_BRD, recently_BD[:, None])):
            np.maximum(expected, 0.0, out=expected, where=recently & above_D)
            np.minimum(expected, 0.0, out=expected, where=recently & below_D)
        np.copyto(rebuilt_BRD, window_BRD, where=cut_BRD[:, :1])


@compiled
def sided(sides: Sides, d: int) -> bool:
    """Return whether feature `d` counts on one side only."""
    return bool(sides.least_D[d] == 0.0 or sides.most_D[d] == 0.0)


@compiled
def curbed(sides: Sides, d: int, z: float) -> float:
    """Return the value of feature `d`, in standard deviations from its level, at most `UNCOUNTED_DEVIATIONS` of them
    off on the side that does not count."""
    if sides.least_D[d] == 0.0:
        return max(z, -UNCOUNTED_DEVIATIONS)
    return min(z, UNCOUNTED_DEVIATIONS) if sides.most_D[d] == 0.0 else z


@compiled
def returned(sides: Sides, d: int, last: float, expected: float) -> float:
    """Return what is expected of feature `d` after the value `last`, both in standard deviations. Where `curbed` cut
    that off, it is the usual level at least (or at most), as in `expect_return`."""
    if sides.least_D[d] == 0.0 and last <= -UNCOUNTED_DEVIATIONS:
        return max(expected, 0.0)
    return min(expected, 0.0) if sides.most_D[d] == 0.0 and last >= UNCOUNTED_DEVIATIONS else expected


@compiled
def counted(sides: Sides, d: int, signed: float) -> float:
    """Return the signed error of feature `d`, or 0 on the side that does not count. NaN stays NaN."""
    return signed if isnan(signed) else min(max(signed, sides.least_D[d]), sides.most_D[d])


@compiled
def counted_of_head(sides: Sides, head: int, f: int, standard: float, predicted: float) -> float:
    """Return the standardised error of either head as far as it counts. A reconstruction error was limited to the side
    that counts before, so a negative one, which is smaller than usual, is no anomaly of a feature with one side. Nor is
    any of an event whose own value is on the other side of what was predicted (`predicted`: that error, signed): then
    the values before it are the ones that were rebuilt badly."""
    if f >= len(sides.least_D):
        return standard
    if head == 0:
        return counted(sides, f, standard)
    if not sided(sides, f):
        return standard
    return 0.0 if standard < 0.0 or (predicted != 0.0 and counted(sides, f, predicted) == 0.0) else standard


@compiled
def prediction_error(y: float, location: float, spread: float) -> tuple[float, float]:
    """Return the signed error in units of the predicted scale, and in standard deviations of the stream's own.

    The network's values are squashed, asinh(z), and so is its scale (`spread`): it is the scale of z divided by the
    slope of sinh at `location`. The error is not squashed: a value a hundred standard deviations off is an error of a
    hundred.
    """
    above, at = exp(y), exp(location)
    off = 0.5 * ((above - 1.0 / above) - (at - 1.0 / at))  # difference of the hyperbolic sines
    return off / (0.5 * (at + 1.0 / at) * spread), off  # divided by the cosine


def category_errors(log_share_BK: Float64, class_B: Float64) -> Float64:
    """Return the deviance residual (McCullagh and Nelder 1989) of each class against the likeliest one, [B]. It is 0 if
    the likeliest class came, and never negative. `class_B` is NaN where the field is missing."""
    known = ~np.isnan(class_B)
    chosen = np.take_along_axis(log_share_BK, np.where(known, class_B, 0).astype(np.int64)[:, None], axis=1)[:, 0]
    return np.where(known, np.sqrt(2.0 * np.maximum(log_share_BK.max(axis=1) - chosen, 0.0)), np.nan)


@compiled
def reconstruction_errors(
    window_RD: Floats, rebuilt_RD: Floats, sides: Sides, there_D: Float64, found_D: Float64
) -> None:
    """Compute, for each feature, the root mean square error of the values rebuilt from the state alone, over the recent
    window, into `found_D`. `there_D` becomes the number of events with a value. The inner loops run over features, so
    that they are vectorised."""
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
    """Return the values with 0 for NaN."""
    return np.where(np.isnan(values), values.dtype.type(0), values)


@compiled
def weigh(error_2F: Float64, prediction_weight: float) -> None:
    """Replace standardised errors by the part that each head and feature contributes to the score. The parts add up to
    the score exactly, so shares are exact.

    A head's weight is spread evenly over its known features. If nothing is known of one head, the other has all the
    weight. Unknown parts become 0; if nothing is known of either head, all stay NaN.
    """
    there, weights = (known(error_2F[0]), known(error_2F[1])), (prediction_weight, 1.0 - prediction_weight)
    total = weights[0] * (there[0] > 0) + weights[1] * (there[1] > 0)
    if there[0] + there[1] == 0:
        return
    for head in range(2):
        # a head of weight 0 counts, too, where nothing is known of the other
        weight = weights[head] / total if total > 0 else 1.0
        for f in range(error_2F.shape[1]):
            error = error_2F[head, f]
            error_2F[head, f] = 0.0 if isnan(error) else weight / there[head] * _dampened(error**2)


@compiled
def _dampened(square: float) -> float:
    """Return what a squared error counts for."""
    return square if square <= PLAIN else PLAIN * (1.0 + BEYOND * log(min(square, LARGEST) / PLAIN))


@compiled
def known(values: Float64) -> int:
    """Return how many of the values are known."""
    count = 0
    for value in values:
        count += not isnan(value)
    return count
