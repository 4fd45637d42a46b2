"""Errors of the two heads, standardised, and their sum: what an event's score is made of.

Shapes: B rows, D numeric and C categorical features, F = D + C, R reconstructed events, K classes. NaN: not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Direction, Float64, Numeric

HEADS = ("prediction", "reconstruction")
LARGEST = 1e6
"""A squared standardised error counts as at most this: the score of an absurd value stays finite."""


@dataclass(frozen=True, slots=True)
class Sides:
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

    @property
    def sided_D(self) -> npt.NDArray[np.bool_]:
        """The features with one side."""
        return np.isfinite(self.least_D) | np.isfinite(self.most_D)

    def counted(self, signed: Float64) -> Float64:
        """Signed errors [..., D], without those that do not count. NaN stays."""
        return np.asarray(np.clip(signed, self.least_D, self.most_D)) if self.sided_D.any() else signed

    def of_heads(self, standard_B2F: Float64) -> Float64:
        """Standardised errors of both heads. One of reconstruction is of the side already; a small one is no anomaly."""
        if not self.sided_D.any():
            return standard_B2F
        counted_B2F, d = standard_B2F.copy(), len(self.least_D)
        counted_B2F[:, 0, :d] = self.counted(standard_B2F[:, 0, :d])
        counted_B2F[:, 1, :d] = np.maximum(standard_B2F[:, 1, :d], np.where(self.sided_D, 0.0, -np.inf))
        return counted_B2F


def prediction_errors(y_BD: Float64, location_BD: Float64, log_scale_BD: Float64) -> Float64:
    """Signed errors in units of the predicted scale, [B, D].

    The network's values are squashed, asinh(z), and so is its scale, which is that of z times the slope there. The error
    is not: a value a hundred deviations off is an error of a hundred.
    """
    return (np.sinh(y_BD) - np.sinh(location_BD)) * np.exp(-log_scale_BD) / np.cosh(location_BD)


def category_errors(log_share_BK: Float64, class_B: Float64) -> Float64:
    """The deviance residual (McCullagh and Nelder 1989) against the likeliest class, [B]: 0 where it came, and never
    negative. `class_B` is NaN where the field is missing."""
    known = ~np.isnan(class_B)
    chosen = np.take_along_axis(log_share_BK, np.where(known, class_B, 0).astype(np.int64)[:, None], axis=1)[:, 0]
    return np.where(known, np.sqrt(2.0 * np.maximum(log_share_BK.max(axis=1) - chosen, 0.0)), np.nan)


def reconstruction_errors(window_BRD: Float64, rebuilt_BRD: Float64, sides: Sides) -> Float64:
    """Root mean square over the recent window of what the state alone rebuilds wrongly, [B, D]."""
    there = ~np.isnan(window_BRD)
    squares = np.where(there, sides.counted(window_BRD - rebuilt_BRD), 0.0) ** 2
    events = there.sum(axis=1)
    return np.where(events > 0, np.sqrt(squares.sum(axis=1) / np.maximum(events, 1)), np.nan)


def or_zero(values: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """0 where nothing is known."""
    return np.where(np.isnan(values), values.dtype.type(0), values)


def sums(values: Float64, axes: int) -> Float64:
    """Over all but the first so many axes. What is added up lies side by side, so that one row's sum is made in the same
    order, and has the same bits, however many rows there are and in whatever order they lie (law L5)."""
    return np.asarray(np.ascontiguousarray(values).reshape(*values.shape[:axes], -1).sum(axis=-1))


def terms(standard_B2F: Float64, prediction_weight: float) -> Float64:
    """Each head's and feature's part of the score, [B, 2, F]: they add up to it, so shares of them are exact.

    A head's weight is spread evenly over its known features; where one head knows nothing the other has all the
    weight. Unknown parts are 0, and all of a row is NaN when no head knows anything.
    """
    known_B2F = ~np.isnan(standard_B2F)
    squares = np.minimum(np.where(known_B2F, standard_B2F, 0.0) ** 2, LARGEST)
    features_B2 = known_B2F.sum(axis=2)
    weight_B2 = np.array([prediction_weight, 1.0 - prediction_weight]) * (features_B2 > 0)
    total_B1 = weight_B2.sum(axis=1, keepdims=True)
    alone_B2 = (features_B2 > 0) / np.maximum((features_B2 > 0).sum(axis=1, keepdims=True), 1)
    weight_B2 = np.where(total_B1 > 0, weight_B2 / np.where(total_B1 > 0, total_B1, 1.0), alone_B2)
    spread_B2F = (weight_B2 / np.maximum(features_B2, 1))[:, :, None] * squares
    return np.where(known_B2F.any(axis=(1, 2), keepdims=True), spread_B2F, np.nan)
