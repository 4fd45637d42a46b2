"""What was expected of an event, in its own units, and what the evidence that led holds it against.

Shapes: B rows, Q statistics of one, D numeric features.
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
"""A value further off than this many deviations is more than a moving average makes of it, in one kind at least."""

INTERVAL = 2.5758
"""Standard deviations either side of what was expected: the 99% interval of a normal law."""

SQUASHED_RANGE = 30.0
"""A squashed value further out is taken for so much: e to the 30th deviations ..."""
WIDEST = 1e13
"""... which is about the largest scale."""

UNTRANSFORMED_RANGE = 700.0
"""Of a logarithm: beyond, its value is no number."""


class Predicted(NamedTuple):
    """By the network, of one event, [B, D] each."""

    off: Float64
    """Distance of what came, in the feature's standard deviations; NaN where nothing did."""
    location: Float64
    """In squashed units, as is the scale."""
    scale: Float64


class Unit(NamedTuple):
    """What squashed units mean, [B, D], and which features are logarithms, [D]."""

    center: Float64
    scale: Float64
    known: int
    """Where a row has how many values they were learned from; with none they are not known."""
    log: Bool


class Held(NamedTuple):
    """[B, D] each; NaN where nothing is known."""

    expected: Float64
    """By the network, with the 99% interval around it."""
    lower: Float64
    upper: Float64
    held: Float64
    """By the leading evidence: the network's expectation, the long-term level, what is usual at this time of day, or what
    the last values, the nearest shape or the other fields say."""
    held_lower: Float64
    held_upper: Float64
    deviation: Float64
    """Distance from it, in the feature's own standard deviations; of a shape, where that is most among the last values;
    where it moves too little, how many times less."""

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> Self:
        """Room for so many."""
        return cls(*(np.empty(shape) for _ in cls._fields))


@compiled
def hold(
    statistics_BQ: Float64,
    at: signals.At,
    weighed: Weighed,
    leading_B: Int64,
    predicted: Predicted,
    x_BD: Float64,
    unit: Unit,
    held: Held,
) -> None:
    """What each event was held against, into `held`: in the feature's own unit."""
    _expect(predicted, unit, held)
    for b in range(len(leading_B)):
        for d in range(len(unit.log)):
            known = statistics_BQ[b, unit.known + d] > 0
            held.expected[b, d] = untransformed(held.expected[b, d], unit.log[d]) if known else nan
            held.lower[b, d] = untransformed(held.lower[b, d], unit.log[d]) if known else nan
            held.upper[b, d] = untransformed(held.upper[b, d], unit.log[d]) if known else nan
            against(statistics_BQ[b], at, weighed, leading_B[b], predicted, x_BD[b, d], unit.log[d], held, b, d)


@compiled
def against(
    row_Q: Float64,
    at: signals.At,
    weighed: Weighed,
    leading: int,
    predicted: Predicted,
    x: float,
    log: bool,
    held: Held,
    b: int,
    d: int,
) -> None:
    """Where evidence of this kind leads: what it holds the feature against, and how far from it that is."""
    held.deviation[b, d] = _deviation(row_Q, at, weighed, leading, predicted, x, b, d)
    if by_network(leading):
        held.held[b, d], held.held_lower[b, d] = held.expected[b, d], held.lower[b, d]
        held.held_upper[b, d] = held.upper[b, d]
        return
    middle, scale = usual(weighed, leading, b, d)
    held.held[b, d] = untransformed(middle, log)
    held.held_lower[b, d] = untransformed(middle - INTERVAL * scale, log)
    held.held_upper[b, d] = untransformed(middle + INTERVAL * scale, log)


@compiled
def by_network(leading: int) -> bool:
    """Whether evidence of this kind has nothing to hold a value against but what the network expected."""
    return bool(leading < Signal.LEVEL or leading == Signal.QUIET or leading == Signal.BURST)


@compiled
def usual(weighed: Weighed, leading: int, b: int, d: int) -> tuple[float, float]:
    """What evidence of values holds one against, and their standard deviation from it: of transformed values."""
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
    """The moving average that evidence of values is made of: how far off they are in those deviations, with its sign."""
    if leading == Signal.LEVEL:
        return float(row_Q[at.values.slow_level + d])
    if leading == Signal.DRIFT:
        return float(row_Q[at.values.slow_drift + d])
    return float(row_Q[at.values.slow_season + d] if leading == Signal.SEASON else row_Q[at.relation.slow + d])


@compiled
def standing(row_Q: Float64, at: signals.At, weighed: Weighed, leading: int, x: float, b: int, d: int) -> float:
    """How far off evidence of this kind, an average, has a transformed value; NaN where it is missing. One that is further
    off than the average takes it for stands for itself: where a day is like the other, no average would ever be far off."""
    middle, scale = usual(weighed, leading, b, d)
    off = x - middle
    return scale * average(row_Q, at, leading, d) if abs(off) <= CLIPPED * scale else off


@compiled
def one_sided(values_BD: Float64, log_D: Bool, held: Held) -> None:
    """Ends the intervals of logarithmic features, amounts mostly, at 0 where what is expected and what came lie on one side
    of it. In deviations of the logarithm an interval around a small amount reaches past 0, which no amount does; whether
    what came lies in it stays as it was."""
    for b in range(len(values_BD)):
        for d in range(len(log_D)):
            if log_D[d]:
                value = values_BD[b, d]
                _end_at_0(value, held.expected[b, d], held.lower[b], held.upper[b], d)
                _end_at_0(value, held.held[b, d], held.held_lower[b], held.held_upper[b], d)


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
        return nan  # it rests as ever, or has one side
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
def _expect(predicted: Predicted, unit: Unit, held: Held) -> None:
    """The network's expectation and the interval around it, of transformed values: one loop over all rows for each, which
    takes several at once. Errors are measured along the slope at what was predicted (`errors.prediction_error`), and so is
    the interval: values a few squashed deviations off would lie further away by far."""
    location_N, scale_N = predicted.location.reshape(-1), predicted.scale.reshape(-1)
    above_N, reach_N = held.held_lower.reshape(-1), held.held_upper.reshape(-1)  # which are free until then
    for n in range(len(location_N)):
        above_N[n] = exp(min(max(location_N[n], -SQUASHED_RANGE), SQUASHED_RANGE))
    middle_N, unit_N = unit.center.reshape(-1), unit.scale.reshape(-1)
    expected_N, lower_N, upper_N = held.expected.reshape(-1), held.lower.reshape(-1), held.upper.reshape(-1)
    for n in range(len(location_N)):
        slope = 0.5 * (above_N[n] + 1.0 / above_N[n])
        expected_N[n] = middle_N[n] + unit_N[n] * (above_N[n] - slope)  # the hyperbolic sine
        reach_N[n] = unit_N[n] * INTERVAL * min(scale_N[n], WIDEST) * slope
    for n in range(len(location_N)):
        lower_N[n], upper_N[n] = expected_N[n] - reach_N[n], expected_N[n] + reach_N[n]


@compiled
def untransformed(x: float, log: bool) -> float:
    """In the feature's own units."""
    if not log:
        return x
    size = expm1(min(abs(x), UNTRANSFORMED_RANGE))
    return size if x >= 0 else -size
