"""Causal normalisation per stream: each value is measured by the statistics of the values before it.

Shapes: B rows (streams), S series, D features, T events. The statistics are three columns of a row: `low` and `high`,
whose meaning depends on the kind of normalisation, and `count`. Updates are winsorised, so that an outlier moves the
statistics little. Old values are forgotten, with a memory counted in events, so that a new level is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf, isnan, sqrt
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import beginning
from anomaly_daemon.detection.elementary import log
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, StateLayout

Float32 = npt.NDArray[np.float32]

KNOWN_AFTER = 8
"""Number of values of a feature before its statistics count as known; until then it is masked, like a missing one."""

WINSOR = 5.0
"""A value further than this many scales from the centre is learned as if it were exactly this far."""

RELATIVE_FLOOR = 1e-4
"""The scale is at least this share of the level, so that the network does not see float noise in a constant series."""

ABSOLUTE_FLOOR = 1e-9

ABSOLUTE_TO_STANDARD = 1.2533
"""sqrt(pi / 2): the standard deviation of a normal distribution, in its mean absolute deviations."""

REACH = 1.5
"""Huber's constant: a robust location moves as if no value were further away than this many standard deviations."""


class NormalizerKind(StrEnum):
    STANDARD = "standard"
    """Mean and standard deviation."""
    ROBUST = "robust"
    """Huber's location (1964) and the clipped mean absolute deviation."""
    MINMAX = "minmax"
    """Middle and half width of the range, both shrinking slowly."""


ASINH_LINEAR, ASINH_LOGARITHM = 1e-4, 1e8
"""Below the first, asinh(z) is the identity except for z cubed / 6; above the second, it is the logarithm of 2z."""
LOG_2 = 0.6931471805599453

CODES = list(NormalizerKind)
"""A kind's index in this list is its number in compiled code."""
ROBUST, MINMAX = CODES.index(NormalizerKind.ROBUST), CODES.index(NormalizerKind.MINMAX)


class Statistics(NamedTuple):
    """The statistics of each feature of each row, [B, D] each. All are zero for a row that has seen nothing."""

    low: Float64
    """standard and robust: the location; minmax: the lower end."""
    high: Float64
    """standard: the variance; robust: the mean absolute deviation; minmax: the upper end."""
    count: Float64  # type: ignore[assignment]  # hides a method of tuples that nothing asks for
    """Number of values seen."""


class At(NamedTuple):
    """Where a row stores these statistics: the index of the first number of each."""

    low: int
    high: int
    count: int  # type: ignore[assignment]


class Measured(NamedTuple):
    """Values normalised by the statistics of the values before them, [B, D] each."""

    y: Float32
    """The squashed value, asinh(z): the identity near 0 and a logarithm far out, so a huge value stays a finite input.
    """
    mask: Float32
    """1 where the value counts. It is 0, and so is `y`, for NaN and for a feature that is not yet known."""
    center: Float64
    scale: Float64
    """Floored, never 0."""

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> Self:
        """Return uninitialised arrays of this shape."""
        return cls(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape), np.empty(shape))


@dataclass(frozen=True, slots=True)
class Normalizer:
    """A kind of normalisation, with a memory in events."""

    kind: NormalizerKind = NormalizerKind.STANDARD
    memory: float = 2000.0

    def measure(self, known: Statistics, x_BD: Float64) -> Measured:
        """Normalise values before they are learned."""
        measured, features = Measured.blank(x_BD.shape), x_BD.shape[1]
        at, x_BD = At(0, features, 2 * features), np.ascontiguousarray(x_BD)
        measure(np.concatenate(known, axis=1), at, self.code, x_BD, measured)
        return measured

    def center_scale(self, known: Statistics) -> tuple[Float64, Float64]:
        """Return location and scale [B, D]; the scale is floored and never 0."""
        measured = self.measure(known, known.low)
        return measured.center, measured.scale

    def normalise(self, known: Statistics, x_BD: Float64) -> tuple[Float32, Float32]:
        """Return the squashed values and the mask of `measure` alone."""
        measured = self.measure(known, x_BD)
        return measured.y, measured.mask

    def denormalise(self, known: Statistics, y_BD: Float64) -> Float64:
        """Return the value that `normalise` turns into `y_BD`."""
        center, scale = self.center_scale(known)
        return center + scale * np.sinh(y_BD)

    def update(self, known: Statistics, x_BD: Float64) -> Statistics:
        """Return the statistics after these values; NaN leaves them unchanged."""
        block_BQ, features = np.concatenate(known, axis=1), x_BD.shape[1]
        learn(block_BQ, At(0, features, 2 * features), self.code, float(self.memory), x_BD, np.ones(len(x_BD)))
        return Statistics(*np.split(block_BQ, 3, axis=1))

    def normalise_series(self, x_STD: Float64) -> tuple[Float32, Float32]:
        """Run `normalise` and then `update`, event by event, over S series of T events. Training reads the result, [S,
        T, D] each. The statistics of a series are reset where `beginning` decides so."""
        y_STD, mask_STD = np.empty(x_STD.shape, np.float32), np.empty(x_STD.shape, np.float32)
        first_Q, at = np.zeros(len(beginning.At._fields)), beginning.At(*range(len(beginning.At._fields)))
        _series(self.code, float(self.memory), x_STD, first_Q, at, y_STD, mask_STD)
        return y_STD, mask_STD

    @property
    def code(self) -> int:
        """The number of the kind in compiled code."""
        return CODES.index(self.kind)


def initial(rows: int, features: int) -> Statistics:
    """Return the statistics of rows that have seen nothing."""
    return Statistics(*(np.zeros((rows, features)) for _ in Statistics._fields))


def columns(numeric: int) -> list[Column]:
    """Return the columns that a row must have for `numeric` features."""
    return [Column(f"norm_{name}", (numeric,)) for name in At._fields]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store the statistics."""
    return At(*(layout.start(f"norm_{name}") for name in At._fields))


@compiled
def measure(statistics_BQ: Float64, at: At, kind: int, x_BD: Float64, measured: Measured) -> None:
    """Normalise the values of each row into `measured`, before they are learned."""
    for b in range(len(x_BD)):
        row_Q = statistics_BQ[b]
        for d in range(x_BD.shape[1]):
            center, scale = _center_scale(kind, row_Q[at.low + d], row_Q[at.high + d])
            measured.center[b, d], measured.scale[b, d] = center, scale
            measured.mask[b, d] = not isnan(x_BD[b, d]) and row_Q[at.count + d] >= KNOWN_AFTER
    x_N, y_N, mask_N = x_BD.reshape(-1), measured.y.reshape(-1), measured.mask.reshape(-1)
    center_N, scale_N = measured.center.reshape(-1), measured.scale.reshape(-1)
    for n in range(len(x_N)):
        y = _asinh((x_N[n] - center_N[n]) / scale_N[n])
        y_N[n] = y if mask_N[n] > 0 else 0.0


@compiled
def learn(statistics_BQ: Float64, at: At, kind: int, memory: float, x_BD: Float64, pace_B: Float64) -> None:
    """Learn these values. NaN, and a pace of 0, leave the statistics unchanged; any other pace counts in full."""
    for b in range(len(x_BD)):
        row_Q = statistics_BQ[b]
        for d in range(x_BD.shape[1]):
            if pace_B[b] > 0:
                known = row_Q[at.low + d], row_Q[at.high + d], row_Q[at.count + d]
                low, high, count = _after(kind, memory, known[0], known[1], known[2], x_BD[b, d])
                row_Q[at.low + d], row_Q[at.high + d], row_Q[at.count + d] = low, high, count


@compiled
def begin(row_Q: Float64, at: At, d: int) -> None:
    """Reset the statistics of feature `d`."""
    row_Q[at.low + d] = row_Q[at.high + d] = row_Q[at.count + d] = 0.0


@compiled
def _series(
    kind: int, memory: float, x_STD: Float64, first_Q: Float64, at: beginning.At, y_STD: Float32, mask_STD: Float32
) -> None:
    series, events, features = x_STD.shape
    for s in range(series):
        for d in range(features):
            low, high, seen = 0.0, 0.0, 0.0
            first_Q[:] = 0.0
            for t in range(events):
                center, scale = _center_scale(kind, low, high)
                there = not isnan(x_STD[s, t, d]) and seen >= KNOWN_AFTER
                y_STD[s, t, d] = _asinh((x_STD[s, t, d] - center) / scale) if there else 0.0
                mask_STD[s, t, d] = there
                if beginning.meet(first_Q, at, 0, x_STD[s, t, d]) != beginning.STAYS:
                    low, high, seen = 0.0, 0.0, 0.0
                low, high, seen = _after(kind, memory, low, high, seen, x_STD[s, t, d])


@compiled
def _asinh(z: float) -> float:
    """Return asinh(z), accurate to the last digits of a float32, which the result becomes."""
    size = abs(z)
    far = size > ASINH_LOGARITHM
    result = log(size if far else size + sqrt(size * size + 1.0)) + (LOG_2 if far else 0.0)
    result = result if z > 0 else -result
    return z if size < ASINH_LINEAR else result


@compiled
def _center_scale(kind: int, low: float, high: float) -> tuple[float, float]:
    if kind == MINMAX:
        center, scale = (low + high) / 2, (high - low) / 2
    elif kind == ROBUST:
        center, scale = low, high * ABSOLUTE_TO_STANDARD
    else:
        center, scale = low, sqrt(high)
    return center, max(scale, RELATIVE_FLOOR * abs(center), ABSOLUTE_FLOOR)


@compiled
def _after(kind: int, memory: float, low: float, high: float, seen: float, x: float) -> tuple[float, float, float]:
    """Return the statistics of one feature after a value."""
    if isnan(x):
        return low, high, seen
    center, scale = _center_scale(kind, low, high)
    if seen == 0:
        return x, x if kind == MINMAX else 0.0, 1.0
    rate = max(1.0 / (seen + 1.0), 1.0 / memory)
    if seen >= KNOWN_AFTER:
        x = min(max(x, center - WINSOR * scale), center + WINSOR * scale)
    if kind == MINMAX:
        return min(low + (center - low) / memory, x), max(high + (center - high) / memory, x), seen + 1.0
    step = x - low
    if kind == ROBUST:
        reach = REACH * high * ABSOLUTE_TO_STANDARD if seen >= KNOWN_AFTER else inf
        return low + rate * min(max(step, -reach), reach), high + rate * (abs(step) - high), seen + 1.0
    return low + rate * step, (1.0 - rate) * (high + rate * step**2), seen + 1.0
