"""What was expected of an event, in its own units, and the value with which the leading evidence compares it.

Shapes: B rows, Q statistics of a row, D numeric features.
"""

from __future__ import annotations

from math import expm1, isnan, nan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import moments, quiet, resolution, season, signals
from anomaly_daemon.detection.elementary import exp
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.weighed import Weighed

Bool = npt.NDArray[np.bool_]

CLIPPED = season.WINSOR
"""A value further off than this many standard deviations is more than a moving average takes in, for at least one kind
of evidence."""

INTERVAL = 2.5758
"""Half width of an interval in standard deviations: the 99% interval of a normal distribution."""

SQUASHED_RANGE = 30.0
"""A squashed value further from 0 than this is clipped to it: e to the 30th standard deviations."""
WIDEST = 1e13
"""A larger predicted scale is clipped to this, which is about e to the 30th."""

UNTRANSFORMED_RANGE = 700.0
"""Largest logarithm that is transformed back: above it the value would overflow."""


class Predicted(NamedTuple):
    """The network's prediction of one event, [B, D] each."""

    off: Float64
    """Distance of the observed value from the prediction, in the feature's standard deviations; NaN where no value
    came."""
    location: Float64
    """The predicted location, in squashed units, as is the scale."""
    scale: Float64


class Unit(NamedTuple):
    """How squashed units convert to a feature's values, [B, D], and which features are logarithms, [D]."""

    center: Float64
    scale: Float64
    known: int
    """The place in a row of the number of values from which they were learned; while it is 0 they are not known."""
    log: Bool


class Compared(NamedTuple):
    """What each feature of an event is compared with, [B, D] each; NaN where nothing is known."""

    expected: Float64
    """The network's expectation. `lower` and `upper` are the 99% interval around it."""
    lower: Float64
    upper: Float64
    reference: Float64
    """The value that the leading evidence compares with: the network's expectation, the long-term level, the usual
    value at this time of day, or what follows from the last values, the nearest shape or the other fields."""
    reference_lower: Float64
    reference_upper: Float64
    deviation: Float64
    """Distance from that value, in the feature's own standard deviations. For shape evidence it is the largest distance
    among the last values; for quiet evidence, how many times less than usual the value moves."""

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> Self:
        """Return uninitialised arrays of this shape."""
        return cls(*(np.empty(shape) for _ in cls._fields))


@compiled
def compare(
    statistics_BQ: Float64,
    at: signals.At,
    weighed: Weighed,
    leading_B: Int64,
    predicted: Predicted,
    x_BD: Float64,
    unit: Unit,
    compared: Compared,
) -> None:
    """Compute what each event is compared with, into `compared`, in the feature's own unit."""
    _expect(predicted, unit, compared)
    for b in range(len(leading_B)):
        for d in range(len(unit.log)):
            known = statistics_BQ[b, unit.known + d] > 0
            compared.expected[b, d] = untransformed(compared.expected[b, d], unit.log[d]) if known else nan
            compared.lower[b, d] = untransformed(compared.lower[b, d], unit.log[d]) if known else nan
            compared.upper[b, d] = untransformed(compared.upper[b, d], unit.log[d]) if known else nan
            against(statistics_BQ[b], at, weighed, leading_B[b], predicted, x_BD[b, d], unit.log[d], compared, b, d)


@compiled
def against(
    row_Q: Float64,
    at: signals.At,
    weighed: Weighed,
    leading: int,
    predicted: Predicted,
    x: float,
    log: bool,
    compared: Compared,
    b: int,
    d: int,
) -> None:
    """Compute, for one feature and leading kind of evidence, the value that it is compared with and the distance from
    it."""
    compared.deviation[b, d] = _deviation(row_Q, at, weighed, leading, predicted, x, b, d)
    if by_network(leading):
        compared.reference[b, d], compared.reference_lower[b, d] = compared.expected[b, d], compared.lower[b, d]
        compared.reference_upper[b, d] = compared.upper[b, d]
        return
    middle, scale = usual(weighed, leading, b, d)
    compared.reference[b, d] = untransformed(middle, log)
    compared.reference_lower[b, d] = untransformed(middle - INTERVAL * scale, log)
    compared.reference_upper[b, d] = untransformed(middle + INTERVAL * scale, log)


@compiled
def by_network(leading: int) -> bool:
    """Return whether evidence of this kind has only the network's expectation to compare a value with."""
    return bool(leading < Signal.LEVEL or leading == Signal.QUIET or leading == Signal.BURST)


@compiled
def usual(weighed: Weighed, leading: int, b: int, d: int) -> tuple[float, float]:
    """Return what evidence of this kind, which is based on values, compares a value with, and the standard deviation
    from it; both in transformed units."""
    if leading == Signal.SEASON:
        return weighed.usual_BD[b, d], weighed.usual_scale_BD[b, d]
    if leading == Signal.AUTOREGRESSION:
        return weighed.regressed_BD[b, d], weighed.regressed_scale_BD[b, d]
    if leading == Signal.SHAPE:
        return weighed.shaped_BD[b, d], weighed.shaped_scale_BD[b, d]
    if leading >= Signal.RELATION:
        return weighed.related_BD[b, d], weighed.related_scale_BD[b, d]
    return weighed.level_BD[b, d], weighed.level_scale_BD[b, d]


@compiled
def average(row_Q: Float64, at: signals.At, leading: int, d: int) -> float:
    """Return the moving average on which evidence of this kind is based: how far off the values are, in standard
    deviations, with sign."""
    if leading == Signal.LEVEL:
        return float(row_Q[at.values.slow_level + d])
    if leading == Signal.DRIFT:
        return float(row_Q[at.values.slow_drift + d])
    return float(row_Q[at.values.slow_season + d] if leading == Signal.SEASON else row_Q[at.relation.slow + d])


@compiled
def standing(row_Q: Float64, at: signals.At, weighed: Weighed, leading: int, x: float, b: int, d: int) -> float:
    """Return how far off a transformed value is by evidence of this kind, which is a moving average; NaN where it is
    missing. A value further off than the average takes in counts as it is: where one day is like another, no average
    would ever be far off."""
    middle, scale = usual(weighed, leading, b, d)
    off = x - middle
    return scale * average(row_Q, at, leading, d) if abs(off) <= CLIPPED * scale else off


@compiled
def one_sided(values_BD: Float64, log_D: Bool, compared: Compared) -> None:
    """End the intervals of logarithmic features (mostly amounts) at 0 if the expected and the observed value are on the
    same side of it. In standard deviations of the logarithm, an interval around a small amount extends past 0, which no
    amount does. Whether the observed value is inside does not change."""
    for b in range(len(values_BD)):
        for d in range(len(log_D)):
            if log_D[d]:
                value = values_BD[b, d]
                _end_at_0(value, compared.expected[b, d], compared.lower[b], compared.upper[b], d)
                _end_at_0(value, compared.reference[b, d], compared.reference_lower[b], compared.reference_upper[b], d)


@compiled
def _end_at_0(value: float, expected: float, lower_D: Float64, upper_D: Float64, d: int) -> None:
    if expected >= 0 and value >= 0 and lower_D[d] < 0:
        lower_D[d] = 0.0
    if expected < 0 and value <= 0 and upper_D[d] > 0:
        upper_D[d] = 0.0


@compiled
def _deviation(
    row_Q: Float64, at: signals.At, weighed: Weighed, leading: int, predicted: Predicted, x: float, b: int, d: int
) -> float:
    if leading < Signal.LEVEL or leading == Signal.BURST:
        return float(predicted.off[b, d])
    if leading == Signal.QUIET and weighed.parts_BJ2F[b, leading, 0, d] == 0.0:
        return nan  # it rests as usual, or counts on one side only
    if leading == Signal.QUIET:
        often, lately = quiet.sizes(row_Q, at.values.quiet, d)
        return float(often / max(lately, quiet.LEAST**2 * often) - 1.0 if often > 0.0 else nan)
    scale = weighed.level_scale_BD[b, d]
    if leading == Signal.AUTOREGRESSION:
        off = scale * weighed.regressed_off_BD[b, d]
    elif leading == Signal.SHAPE:
        off = scale * weighed.shaped_off_BD[b, d]
    elif leading == Signal.JOINT:
        off = scale * weighed.related_off_BD[b, d]
    else:
        off = standing(row_Q, at, weighed, leading, x, b, d)
        off = usual(weighed, leading, b, d)[1] * average(row_Q, at, leading, d) if isnan(off) else off
    rounding = resolution.rounding(weighed.level_BD[b, d])
    return float(abs(off) / moments.scale(row_Q, at.values.level, d, rounding))


@compiled
def _expect(predicted: Predicted, unit: Unit, compared: Compared) -> None:
    """Compute the network's expectation and the interval around it, in transformed values. Each loop runs over all
    rows, so that it is vectorised. Errors are measured along the slope at the predicted value
    (`errors.prediction_error`), and so is the interval. An interval of a few squashed deviations that is transformed
    back would extend much further."""
    location_N, scale_N = predicted.location.reshape(-1), predicted.scale.reshape(-1)
    # these two are still unused here
    above_N, reach_N = compared.reference_lower.reshape(-1), compared.reference_upper.reshape(-1)
    for n in range(len(location_N)):
        above_N[n] = exp(min(max(location_N[n], -SQUASHED_RANGE), SQUASHED_RANGE))
    middle_N, unit_N = unit.center.reshape(-1), unit.scale.reshape(-1)
    expected_N, lower_N, upper_N = compared.expected.reshape(-1), compared.lower.reshape(-1), compared.upper.reshape(-1)
    for n in range(len(location_N)):
        slope = 0.5 * (above_N[n] + 1.0 / above_N[n])
        expected_N[n] = middle_N[n] + unit_N[n] * (above_N[n] - slope)  # the hyperbolic sine
        reach_N[n] = unit_N[n] * INTERVAL * min(scale_N[n], WIDEST) * slope
    for n in range(len(location_N)):
        lower_N[n], upper_N[n] = expected_N[n] - reach_N[n], expected_N[n] + reach_N[n]


@compiled
def untransformed(x: float, log: bool) -> float:
    """Return a transformed value in the feature's own units."""
    if not log:
        return x
    size = expm1(min(abs(x), UNTRANSFORMED_RANGE))
    return size if x >= 0 else -size
