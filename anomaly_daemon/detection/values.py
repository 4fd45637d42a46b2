"""Evidence from the values of one numeric feature alone: how far they step, and how little; their averages over a short
and a long window; what is usual at this time of day; and what the last values predict.

Shapes: P carried numbers and Q statistics of a row, D numeric features.
"""

from __future__ import annotations

from math import isnan, nan
from typing import NamedTuple

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import (
    autoregression,
    beginning,
    errors,
    moments,
    quiet,
    resolution,
    rhythm,
    season,
    shape,
)
from anomaly_daemon.detection.averages import Window, moved
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.state import Column, StateLayout
from anomaly_daemon.detection.weights import Weights

STEP_FLOOR = 1e-3
"""The least standard deviation of a step, as a share of the values' standard deviation."""

SQUARE_WINSOR = 50.0
"""A squared standardised step enters a moving average as at most this, so that one spike is no drift."""

VALUE_WINSOR = 10.0
"""A standardised value enters a moving average as at most this."""


class At(NamedTuple):
    """Where a row stores each."""

    beginning: beginning.At
    step: moments.At
    level: moments.At
    season: season.At
    rhythm: rhythm.At
    autoregression: autoregression.At
    shape: shape.At
    quiet: quiet.At
    slow_step: int
    slow_level: int
    slow_drift: int
    slow_season: int
    last_x: int


class Statistics(NamedTuple):
    """The result for one value. The first seven are its worth as evidence of each kind; the last three of them are NaN
    where nothing is known."""

    change: float
    level: float
    drift: float
    season: float
    quiet: float
    regressed: float
    shape: float
    rests: bool
    """Whether the value is exactly the last one."""
    usual: season.Residual
    """What is usual at this time of day."""
    own: autoregression.Met
    """What the last values predicted, in standard deviations from the level."""
    shaped: shape.Met
    """The comparison with the nearest shape, in the same units."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row must have: (carried, statistics)."""
    (carried, statistics), own = season.columns(numeric), autoregression.columns(numeric)
    shapes = shape.columns(numeric)
    statistics += beginning.columns(numeric) + rhythm.columns(numeric)
    statistics += moments.columns("step", (numeric,)) + moments.columns("level", (numeric,))
    statistics += [Column("last_x", (numeric,), nan), *quiet.columns(numeric)]
    statistics += [Column(f"slow_{name}", (numeric,)) for name in ("step", "level", "drift", "season")]
    return [*carried, *own[0], *shapes[0]], [*statistics, *own[1], *shapes[1]]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    known = beginning.at(layout), moments.at(layout, "step"), moments.at(layout, "level"), season.at(layout)
    own = rhythm.at(layout), autoregression.at(layout), shape.at(layout), quiet.at(layout)
    return At(*known, *own, *(layout.start(name) for name in At._fields[8:]))


@compiled
def begins(carried_P: Float32, row_Q: Float64, at: At, numeric: int, d: int, x: float) -> bool:
    """Return whether all that is known of feature `d` has to be reset (`beginning`), and reset it: it starts from
    scratch with this value, or from the later ones of its first values."""
    outcome = beginning.meet(row_Q, at.beginning, d, x)
    if outcome == beginning.STAYS:
        return False
    mean, variance, count = beginning.others(row_Q, at.beginning, d) if outcome == beginning.OTHERS else (0.0, 0.0, 0.0)
    moments.begin(row_Q, at.level, d, mean, variance, count)
    moments.begin(row_Q, at.step, d, 0.0, 0.0, 0.0)
    season.begin(carried_P, row_Q, at.season, numeric, d)
    rhythm.begin(row_Q, at.rhythm, d)
    quiet.begin(row_Q, at.quiet, d)
    autoregression.begin(carried_P, row_Q, at.autoregression, d)
    shape.begin(carried_P, row_Q, at.shape, d)
    for slow in (at.slow_step, at.slow_level, at.slow_drift, at.slow_season):
        row_Q[slow + d] = 0.0
    row_Q[at.last_x + d] = nan
    return True


@compiled
def least(row_Q: Float64, at: At, d: int) -> float:
    """Return the least standard deviation of feature `d`, given what is known of it."""
    known = row_Q[at.beginning.count + d] >= beginning.ENOUGH
    return resolution.least(row_Q[at.level.mean + d], known and row_Q[at.quiet.rests + d] < quiet.RESTS)


@compiled
def meet(
    carried_P: Float32,
    row_Q: Float64,
    at: At,
    d: int,
    x: float,
    scale: float,
    pace: float,
    weights: Weights,
    sides: Sides,
    near_K: Float32,
) -> Statistics:
    """Compare a value of feature `d` with what its stream has shown, and learn it. `scale`: its standard deviation."""
    numeric, slowest, least = len(sides.least_D), weights.slowest, _least_step(row_Q, at, d, scale)
    usual = _usual(carried_P, row_Q, at, numeric, d, x, scale, least, slowest, pace)
    settled = row_Q[at.level.count + d] >= moments.WINSOR_AFTER
    z_level = moments.meet(row_Q, at.level, d, x, scale, slowest)
    step_scale, step = moments.scale(row_Q, at.step, d, least), x - row_Q[at.last_x + d]
    z_step = moments.meet(row_Q, at.step, d, step, step_scale, slowest)
    change = 0.0 if errors.sided(sides, d) else min(z_step**2, SQUARE_WINSOR)  # a flutter has no side
    stilled = quiet.meet(row_Q, at.quiet, d, step, scale, slowest, weights.quiet)
    z_own = z_level if settled else nan
    own = autoregression.meet(carried_P, row_Q, at.autoregression, d, z_own, slowest, sides, weights.autoregression)
    shaped = _shape(carried_P, row_Q, at, d, z_own, weights, sides, near_K)
    if not isnan(x):
        row_Q[at.last_x + d] = x
    rests = row_Q[at.quiet.rests + d] >= quiet.RESTS
    return Statistics(
        moved(row_Q, at.slow_step + d, change if not isnan(z_step) else nan, weights.window),
        _shift(row_Q, at.slow_level + d, z_level, sides, d, weights.window),
        _shift(row_Q, at.slow_drift + d, z_level, sides, d, weights.drift),
        _shift(row_Q, at.slow_season + d, usual.standard, sides, d, weights.season),
        nan if errors.sided(sides, d) else stilled,
        nan if rests else own.slow,
        nan if rests else shaped.slow,
        step == 0.0,
        usual,
        own,
        shaped,
    )


@compiled
def _usual(
    carried_P: Float32,
    row_Q: Float64,
    at: At,
    numeric: int,
    d: int,
    x: float,
    scale: float,
    least: float,
    slowest: float,
    pace: float,
) -> season.Residual:
    """Compare the value with what is usual at this time, and learn both how far off it is and how much of the variance
    that leaves."""
    usual = season.residual(carried_P, row_Q, at.season, numeric, d, x, least, slowest, pace)
    rhythm.meet(row_Q, at.rhythm, d, x - usual.usual, scale, slowest, pace)
    return usual


@compiled
def _least_step(row_Q: Float64, at: At, d: int, scale: float) -> float:
    """Return the least standard deviation of a step."""
    return max(STEP_FLOOR * scale, resolution.rounding(row_Q[at.level.mean + d]))


@compiled
def _shape(
    carried_P: Float32, row_Q: Float64, at: At, d: int, z: float, weights: Weights, sides: Sides, near_K: Float32
) -> shape.Met:
    """Compare the last values, which the autoregression stores, with the shapes. A shape has no side, so a field that
    counts on one side only has none."""
    if isnan(z) or errors.sided(sides, d):
        return shape.Met(nan, nan, nan, nan, nan)
    recent = at.autoregression.recent + d * autoregression.ORDER
    return shape.meet(carried_P, row_Q, at.shape, d, recent, weights.shape, near_K)


@compiled
def _shift(row_Q: Float64, place: int, z: float, sides: Sides, d: int, window: Window) -> float:
    """Return the square of the moving average on the side that counts. The unit is the variance that the average over
    its window would have if the values were independent."""
    winsorised = z if isnan(z) else min(max(z, -VALUE_WINSOR), VALUE_WINSOR)
    return errors.counted(sides, d, moved(row_Q, place, winsorised, window)) ** 2 * window.events
