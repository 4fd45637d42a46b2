"""What speaks for an anomaly: kinds of evidence, each of which looks at a stream in a way of its own.

A predictor that follows a slow shift makes no error, and one that has never seen a stream's Tuesday mornings makes errors
every Tuesday: no single evidence finds everything. All are causal, and each is measured by the stream's own long past and
calibrated by itself.

Shapes: B rows, D numeric and C categorical features, F = D + C, J signals.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from anomaly_daemon.detection import errors, moments, season
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.moments import Moments
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.season import Residual
from anomaly_daemon.detection.state import Column, Rows


class Signal(IntEnum):
    """The kinds of evidence, in the order of their columns."""

    POINT = 0
    """This event's errors of prediction and reconstruction."""
    WINDOW = 1
    """Their moving average: a change of shape that no single event shows."""
    CHANGE = 2
    """The moving average of squared steps from one value to the next: a burst, or a flutter."""
    LEVEL = 3
    """The moving average of the values: a lasting shift, which a good predictor follows without an error."""
    DRIFT = 4
    """The same over a longer time: a slow drift."""
    SEASON = 5
    """The moving average of the values against the same time of earlier days."""


NETWORK_SIGNALS = [Signal.POINT, Signal.WINDOW]
"""Those that are made of the network's errors: they mean something else after a change of model."""

ODDS = np.array([0.3, 1.0, 1.0, 1.0, 0.1, 1.0])
"""How likely each kind is to tell of an anomaly, before anything is seen: what its p-value weighs. A lone error is mostly
noise, and so is a moving average that has wandered for long."""

MEMORY = 5.0
"""Long statistics remember this many times the events that the normaliser does."""

DRIFT_WINDOWS = 4.0
"""The window of a drift, in windows of a level."""

SEASON_WINDOW = 0.25
"""The window of a season's residual, in windows of a level: an hour that is not like the others is short."""

ERROR_FLOOR = 0.03
"""The least standard deviation of an error, in units of the predicted scale."""

LEVEL_FLOOR = 1e-3
"""The least standard deviation of a value, as a share of its level ..."""

STEP_FLOOR = 1e-3
"""... and that of a step, as a share of the values' standard deviation."""

SQUARE_WINSOR = 36.0
"""A squared standardised error or step enters a moving average as at most this: one spike is not a drift."""

VALUE_WINSOR = 6.0
"""And a standardised value as at most this."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one event of each row, after the network has passed over it. NaN: not known."""

    time_B: Int64
    x_BD: Float64
    """The transformed values."""
    raw_B2F: Float64
    """Errors of both heads."""
    pace_B: Float64


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the event is worth as evidence, and what it was held against."""

    evidence_BJ: Float64
    """On a log scale."""
    parts_BJ2F: Float64
    """What each is the sum of."""
    standard_B2F: Float64
    """Errors in standard deviations of the stream's own."""
    level: Moments
    """Of the values, before this event."""
    level_scale_BD: Float64
    residual: Residual


def columns(numeric: int, features: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    carried, statistics = season.columns(numeric)
    statistics += moments.columns("error", (2, features))
    statistics += moments.columns("step", (numeric,)) + moments.columns("level", (numeric,))
    statistics += [Column("slow_error", (2, features)), Column("last_x", (numeric,), np.nan)]
    statistics += [Column(f"slow_{name}", (numeric,)) for name in ("step", "level", "drift", "season")]
    return carried, statistics


def weigh(rows: Rows, seen: Seen, rules: Rules, sides: Sides, timezone: str) -> Weighed:
    """The evidence of an event; moves the rows on past it."""
    memory = MEMORY * rules.adaptation_events
    error, step, level = (Moments.of(rows, name) for name in ("error", "step", "level"))
    step_BD = seen.x_BD - rows["last_x"]
    level_floor_BD = LEVEL_FLOOR * np.abs(level.mean)
    level_scale_BD = level.scale(level_floor_BD)
    step_floor_BD = STEP_FLOOR * level_scale_BD
    standard_B2F = error.standardised(seen.raw_B2F, ERROR_FLOOR)
    z_step_BD = step.standardised(step_BD, step_floor_BD)
    z_level_BD = level.standardised(seen.x_BD, level_floor_BD)
    error.after(seen.raw_B2F, ERROR_FLOOR, memory).keep(rows, "error")
    step.after(step_BD, step_floor_BD, memory).keep(rows, "step")
    level.after(seen.x_BD, level_floor_BD, memory).keep(rows, "level")
    rows["last_x"] = np.where(np.isnan(seen.x_BD), rows["last_x"], seen.x_BD)
    residual = season.residual(rows, seen.time_B, seen.x_BD, step_floor_BD, timezone, memory, seen.pace_B)
    point_B2F = errors.terms(sides.of_heads(standard_B2F), rules.prediction_weight)
    z_step_BD[:, sides.sided_D] = 0.0  # a flutter has no side
    parts_BJ2F = _parts(rows, point_B2F, z_step_BD, z_level_BD, residual.standard, sides, rules.window_events)
    parts_BJ2F[np.isnan(point_B2F[:, 0, 0])] = np.nan
    parts_BJ2F[(rows["season_count"] == 0).all(axis=1), Signal.SEASON] = np.nan  # no time of day was seen twice
    evidence_BJ = np.log1p(np.sqrt(errors.sums(parts_BJ2F, 2)))
    return Weighed(evidence_BJ, parts_BJ2F, standard_B2F, level, level_scale_BD, residual)


def _parts(
    rows: Rows,
    point_B2F: Float64,
    step_BD: Float64,
    level_BD: Float64,
    season_BD: Float64,
    sides: Sides,
    window: int,
) -> Float64:
    """Each signal's parts by head and feature, [B, J, 2, F].

    They are squared before they are summed: an error in one feature of many counts for more than the same amount
    spread thinly over all of them. A moving average of values has the variance of a value over its window.
    """
    slow_B2F = _moved(rows, "slow_error", np.minimum(point_B2F, SQUARE_WINSOR), window)
    numeric = step_BD.shape[1]
    parts_BJ2F = np.zeros((len(rows), len(Signal), *point_B2F.shape[1:]))
    parts_BJ2F[:, Signal.POINT], parts_BJ2F[:, Signal.WINDOW] = point_B2F, slow_B2F
    of_values = {
        Signal.CHANGE: _moved(rows, "slow_step", np.minimum(step_BD**2, SQUARE_WINSOR), window),
        Signal.LEVEL: _shift(rows, "slow_level", level_BD, sides, window),
        Signal.DRIFT: _shift(rows, "slow_drift", level_BD, sides, DRIFT_WINDOWS * window),
        Signal.SEASON: _shift(rows, "slow_season", season_BD, sides, SEASON_WINDOW * window),
    }
    for signal, one_BD in of_values.items():
        parts_BJ2F[:, signal, 0, :numeric] = one_BD / max(numeric, 1)  # a category has neither step nor level
    parts_BJ2F **= 2
    parts_BJ2F *= point_B2F.shape[2]
    return parts_BJ2F


def _moved(rows: Rows, name: str, x: Float64, window: float) -> Float64:
    """The moving average after these; an unknown one leaves it as it is."""
    slow = rows[name]
    slow += 2.0 / (max(window, 1.0) + 1.0) * errors.or_zero(x - slow)
    return slow


def _shift(rows: Rows, name: str, z_BD: Float64, sides: Sides, window: float) -> Float64:
    """The square of the moving average, in units of its variance under independent values; to the side that counts."""
    slow_BD = _moved(rows, name, np.clip(z_BD, -VALUE_WINSOR, VALUE_WINSOR), window)
    return sides.counted(slow_BD) ** 2 * max(window, 1.0)
