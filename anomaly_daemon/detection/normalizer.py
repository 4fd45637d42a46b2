"""Causal normalisation per stream: each value is measured by the statistics of the values before it.

Shapes: B rows (streams), D features, T events. The statistics are three columns a row: `low` and `high` (their meaning
depends on the kind, see `center_scale`) and `count`. Updates are winsorised, so that an outlier moves them little, and
forget with a memory counted in events, so that a new level is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Float64

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

KNOWN_AFTER = 8
"""Values of a feature before its statistics count as known; until then it is masked, like a missing one."""

WINSOR = 5.0
"""A value further than this many scales off counts as if it were this far."""

RELATIVE_FLOOR = 1e-4
"""The scale is at least this share of the level: float noise on a constant series is not a deviation."""

ABSOLUTE_FLOOR = 1e-9


class NormalizerKind(StrEnum):
    STANDARD = "standard"
    """Mean and standard deviation."""
    ROBUST = "robust"
    """Huber's location (1964) and the clipped mean absolute deviation."""
    MINMAX = "minmax"
    """Middle and half width of the range, both shrinking slowly."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of each feature of each row, [B, D] each. All zero for a row that has seen nothing."""

    low: Float64
    """standard and robust: the location; minmax: the lower end."""
    high: Float64
    """standard: the variance; robust: the mean absolute deviation; minmax: the upper end."""
    count: Float64
    """Values seen."""


@dataclass(frozen=True, slots=True)
class Normalizer:
    """A kind and a memory. Pure: every method takes statistics and returns new ones."""

    kind: NormalizerKind = NormalizerKind.STANDARD
    memory: float = 2000.0

    def center_scale(self, known: Statistics) -> tuple[Float64, Float64]:
        """Location and scale [B, D]; the scale is floored and never 0."""
        if self.kind is NormalizerKind.MINMAX:
            center, scale = (known.low + known.high) / 2, (known.high - known.low) / 2
        elif self.kind is NormalizerKind.ROBUST:
            center, scale = (
                known.low,
                known.high * 1.2533,
            )  # sqrt(pi / 2): a normal's deviation from its mean absolute one
        else:
            center, scale = known.low, np.sqrt(known.high)
        return center, np.maximum(np.maximum(scale, RELATIVE_FLOOR * np.abs(center)), ABSOLUTE_FLOOR)

    def normalise(self, known: Statistics, x_BD: Float64) -> tuple[Float32, Float32]:
        """Squashed values asinh(z) and mask, [B, D]. NaN, and a feature not yet known, are 0 with mask 0.

        asinh is the identity near 0 and a logarithm far out: a huge value stays a finite input.
        """
        center, scale = self.center_scale(known)
        there = ~np.isnan(x_BD) & (known.count >= KNOWN_AFTER)
        y_BD = np.arcsinh((np.where(there, x_BD, center) - center) / scale)
        return y_BD.astype(np.float32), there.astype(np.float32)

    def denormalise(self, known: Statistics, y_BD: Float64) -> Float64:
        """The value that `normalise` would have given as `y_BD`."""
        center, scale = self.center_scale(known)
        return center + scale * np.sinh(y_BD)

    def update(self, known: Statistics, x_BD: Float64) -> Statistics:
        """The statistics after these values; NaN leaves them as they are."""
        there = ~np.isnan(x_BD)
        count = known.count + there
        rate = np.maximum(1.0 / np.maximum(count, 1.0), 1.0 / self.memory)
        center, scale = self.center_scale(known)
        x_BD = np.where(there, x_BD, center)
        reach = np.where(known.count >= KNOWN_AFTER, WINSOR * scale, np.inf)
        x_BD = np.clip(x_BD, center - reach, center + reach)
        low, high = self._moved(known, x_BD, center, rate)
        return Statistics(np.where(there, low, known.low), np.where(there, high, known.high), count)

    def _moved(self, known: Statistics, x_BD: Float64, center: Float64, rate: Float64) -> tuple[Float64, Float64]:
        first = known.count == 0
        if self.kind is NormalizerKind.MINMAX:
            low = np.where(first, x_BD, np.minimum(known.low + (center - known.low) / self.memory, x_BD))
            high = np.where(first, x_BD, np.maximum(known.high + (center - known.high) / self.memory, x_BD))
            return low, high
        step = np.where(first, x_BD, x_BD - known.low)
        if self.kind is NormalizerKind.ROBUST:
            reach = np.where(known.count >= KNOWN_AFTER, 1.5 * known.high * 1.2533, np.inf)
            low = known.low + rate * np.clip(step, -reach, reach)
            return low, np.where(first, 0.0, known.high + rate * (np.abs(step) - known.high))
        return known.low + rate * step, np.where(first, 0.0, (1.0 - rate) * (known.high + rate * step**2))

    def normalise_series(self, x_STD: Float64) -> tuple[Float32, Float32]:
        """`normalise` then `update`, event by event, over S series of T events: what training reads. [S, T, D] each."""
        series, events, features = x_STD.shape
        known = initial(series, features)
        y_STD = np.zeros((series, events, features), np.float32)
        mask_STD = np.zeros_like(y_STD)
        for t in range(events):
            y_STD[:, t], mask_STD[:, t] = self.normalise(known, x_STD[:, t])
            known = self.update(known, x_STD[:, t])
        return y_STD, mask_STD


def initial(rows: int, features: int) -> Statistics:
    """The statistics of rows that have seen nothing."""
    zeros = np.zeros((rows, features))
    return Statistics(zeros, zeros.copy(), zeros.copy())
