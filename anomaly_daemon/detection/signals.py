"""What speaks for an anomaly: kinds of evidence, each of which looks at a stream in a way of its own.

A predictor that follows a slow shift makes no error, and one that has never seen a stream's Tuesday mornings makes errors
every Tuesday: no single evidence finds everything. All are causal, and each is measured by the stream's own long past and
calibrated by itself.

Shapes: B rows, D numeric and C categorical features, F = D + C, J signals.
"""

from __future__ import annotations

from enum import IntEnum
from math import isnan, nan, sqrt
from typing import NamedTuple, Self

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import errors, joint, moments, relation, season
from anomaly_daemon.detection.averages import Window, moved
from anomaly_daemon.detection.elementary import logarithms
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.state import Column, StateLayout
from anomaly_daemon.detection.weighed import Seen, Weighed


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
    RELATION = 6
    """The moving average of the values against what the other fields say at the same moment."""
    JOINT = 7
    """All fields at once against all that the stream has shown of them. Of one field there is neither of these two, which
    are the last (`kinds`)."""


NETWORK_SIGNALS = [Signal.POINT, Signal.WINDOW]
"""Those that are made of the network's errors: they mean something else after a change of model."""

ODDS = np.array([0.3, 1.0, 1.0, 1.0, 0.5, 0.3, 0.2, 0.5])
"""How likely each kind is to tell of an anomaly, before anything is seen: what the p-value of a single event weighs. A lone
error is mostly noise, a moving average that has wandered for long often is, and an hour that is unlike other days is
mostly a holiday; of fields that
hang together most come apart for reasons that are no fault."""

MEMORY = 10.0
"""Long statistics remember this many times the events that the normaliser does: as many as the distributions of evidence
(`calibration.MEMORY`)."""

DRIFT_WINDOWS = 4.0
"""The window of a drift, in windows of a level."""

SEASON_WINDOW = 0.25
"""The window of a season's residual, in windows of a level: an hour that is not like the others is short."""

ERROR_FLOOR = 0.03
"""The least standard deviation of an error, in units of the predicted scale."""

ERROR_WINSOR = 8.0
"""An error further off than this many standard deviations teaches as if it were this far. What comes more often than once
in the square of it becomes a habit: of values more than once in 25 events, of errors in 64."""

LEVEL_FLOOR = 1e-3
"""The least standard deviation of a value, as a share of its level ..."""

STEP_FLOOR = 1e-3
"""... and that of a step, as a share of the values' standard deviation."""

SQUARE_WINSOR = 50.0
"""A squared standardised error or step enters a moving average as at most this: one spike is not a drift."""

VALUE_WINSOR = 10.0
"""And a standardised value as at most this."""


def kinds(numeric: int) -> int:
    """How many of them there are for so many numeric features."""
    return len(Signal) if relation.possible(numeric) else int(Signal.RELATION)


class At(NamedTuple):
    """Where a row has each."""

    error: moments.At
    step: moments.At
    level: moments.At
    season: season.At
    relation: relation.At
    slow_error: int
    slow_step: int
    slow_level: int
    slow_drift: int
    slow_season: int
    last_x: int


class Weights(NamedTuple):
    """What the rules say of them."""

    slowest: float
    """One over the memory of what is long."""
    prediction: float
    """Of that head; the other has the rest."""
    window: Window
    drift: Window
    season: Window
    joint: Window

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """In the numbers that are computed with."""
        events = (rules.window_events * times for times in (1.0, DRIFT_WINDOWS, SEASON_WINDOW))
        memory = MEMORY * rules.adaptation_events
        windows = (Window.of(each) for each in (*events, joint.EVENTS))
        return cls(1.0 / memory, float(rules.prediction_weight), *windows)


def columns(numeric: int, features: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    (carried, statistics), related = season.columns(numeric), relation.columns(numeric)
    statistics += moments.columns("error", (2, features))
    statistics += moments.columns("step", (numeric,)) + moments.columns("level", (numeric,))
    statistics += [Column("slow_error", (2, features)), Column("last_x", (numeric,), np.nan)]
    statistics += [Column(f"slow_{name}", (numeric,)) for name in ("step", "level", "drift", "season")]
    return [*carried, *related[0]], [*statistics, *related[1]]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    error, step, level = (moments.at(layout, name) for name in ("error", "step", "level"))
    kept = season.at(layout), relation.at(layout)
    return At(error, step, level, *kept, *(layout.start(name) for name in At._fields[5:]))


@compiled
def weigh(
    carried_BP: Float32,
    statistics_BQ: Float64,
    at: At,
    seen: Seen,
    visit_B: Float64,
    weights: Weights,
    sides: Sides,
    weighed: Weighed,
) -> None:
    """The evidence of an event of each row, into `weighed`; moves the rows on past it. `visit_B`: `season.visits`."""
    numeric = seen.x_BD.shape[1]
    for b in range(len(statistics_BQ)):
        carried_P, row_Q, parts_J2F = carried_BP[b], statistics_BQ[b], weighed.parts_BJ2F[b]
        season.come(carried_P, row_Q, at.season, numeric, visit_B[b])
        for d in range(numeric):
            if moments.strange(row_Q, at.level, d, seen.x_BD[b, d]):
                seen.raw_B2F[b, 0, d] = seen.raw_B2F[b, 1, d] = nan  # its errors teach nothing
        _errors(row_Q, at, seen.raw_B2F[b], weighed.standard_B2F[b], parts_J2F, weights, sides)
        for d in range(numeric):
            level = weighed.level_BD[b, d] = row_Q[at.level.mean + d]
            weighed.level_scale_BD[b, d] = moments.scale(row_Q, at.level, d, LEVEL_FLOOR * abs(level))
        met = relation.Met(False, nan)
        if len(parts_J2F) > Signal.RELATION:
            met = _relations(carried_P, row_Q, at, seen, b, weights, sides, weighed)
        for d in range(numeric):
            x, scale = seen.x_BD[b, d], weighed.level_scale_BD[b, d]
            least = STEP_FLOOR * scale
            usual = season.residual(carried_P, row_Q, at.season, numeric, d, x, least, weights.slowest, seen.pace_B[b])
            _values(row_Q, at, d, x, scale, usual.standard, parts_J2F, weights, sides)
            weighed.usual_BD[b, d], weighed.usual_scale_BD[b, d] = usual.usual, usual.scale
        _sum_up(row_Q, at, numeric, met, parts_J2F, weighed.evidence_BJ[b])
    evidence_N = weighed.evidence_BJ.reshape(-1)
    logarithms(evidence_N, evidence_N)


@compiled
def _relations(
    carried_P: Float32, row_Q: Float64, at: At, seen: Seen, b: int, weights: Weights, sides: Sides, weighed: Weighed
) -> relation.Met:
    """Of the numeric features among each other."""
    numeric = seen.x_BD.shape[1]
    seen_D = row_Q[at.level.count : at.level.count + numeric]
    before_D = row_Q[at.last_x : at.last_x + numeric]
    fields = relation.Fields(seen.x_BD[b], seen_D, before_D, weighed.level_BD[b], weighed.level_scale_BD[b])
    part_D = weighed.parts_BJ2F[b, Signal.RELATION, 0]
    told = relation.Told(part_D, weighed.related_BD[b], weighed.related_scale_BD[b], weighed.related_off_BD[b])
    return relation.meet(
        carried_P,
        row_Q,
        at.relation,
        fields,
        relation.Weights(weights.slowest, weights.window, weights.joint),
        sides,
        weighed.room,
        told,
    )


@compiled
def _errors(
    row_Q: Float64, at: At, raw_2F: Float64, standard_2F: Float64, parts_J2F: Float64, weights: Weights, sides: Sides
) -> None:
    """Of the network: a point, and their moving average."""
    features, point_2F = raw_2F.shape[1], parts_J2F[Signal.POINT]
    for head in range(2):
        for f in range(features):
            i = head * features + f
            scale = moments.scale(row_Q, at.error, i, ERROR_FLOOR)
            standard = moments.meet(row_Q, at.error, i, raw_2F[head, f], scale, weights.slowest, ERROR_WINSOR, False)
            standard_2F[head, f] = standard
            point_2F[head, f] = errors.counted_of_head(sides, head, f, standard)
    errors.weigh(point_2F, weights.prediction)
    for head in range(2):
        for f in range(features):
            told, place = point_2F[head, f], at.slow_error + head * features + f
            told = SQUARE_WINSOR if told > SQUARE_WINSOR else told
            parts_J2F[Signal.WINDOW, head, f] = moved(row_Q, place, told, weights.window)


@compiled
def _values(
    row_Q: Float64,
    at: At,
    d: int,
    x: float,
    scale: float,
    z_season: float,
    parts_J2F: Float64,
    weights: Weights,
    sides: Sides,
) -> None:
    """Of one numeric feature: its steps, its level over two windows, and its distance from what is usual at this hour."""
    z_level, share = moments.meet(row_Q, at.level, d, x, scale, weights.slowest), 1.0 / len(sides.least_D)
    step_scale, step = moments.scale(row_Q, at.step, d, STEP_FLOOR * scale), x - row_Q[at.last_x + d]
    z_step = moments.meet(row_Q, at.step, d, step, step_scale, weights.slowest)
    told = 0.0 if errors.sided(sides, d) else z_step**2  # a flutter has no side
    told = SQUARE_WINSOR if told > SQUARE_WINSOR else told
    parts_J2F[Signal.CHANGE, 0, d] = share * moved(row_Q, at.slow_step + d, told, weights.window)
    parts_J2F[Signal.LEVEL, 0, d] = share * _shift(row_Q, at.slow_level + d, z_level, sides, d, weights.window)
    parts_J2F[Signal.DRIFT, 0, d] = share * _shift(row_Q, at.slow_drift + d, z_level, sides, d, weights.drift)
    parts_J2F[Signal.SEASON, 0, d] = share * _shift(row_Q, at.slow_season + d, z_season, sides, d, weights.season)
    if not isnan(x):
        row_Q[at.last_x + d] = x


@compiled
def _sum_up(row_Q: Float64, at: At, numeric: int, met: relation.Met, parts_J2F: Float64, evidence_J: Float64) -> None:
    """Parts are squared before they are summed: an error in one feature of many counts for more than the same amount
    spread thinly over all of them. A category has neither step nor level. What is left here becomes its logarithm."""
    features, nothing = parts_J2F.shape[2], isnan(parts_J2F[Signal.POINT, 0, 0])
    for j in range(min(len(evidence_J), Signal.JOINT.value)):
        total = 0.0
        for head in range(2 if j <= Signal.WINDOW else 1):
            for f in range(features if j <= Signal.WINDOW else numeric):
                part = parts_J2F[j, head, f]
                parts_J2F[j, head, f] = features * part * part
                total += parts_J2F[j, head, f]
        evidence_J[j] = nan if nothing else 1.0 + sqrt(total)
    if not _twice(row_Q, at, numeric):
        evidence_J[Signal.SEASON] = nan
    if len(evidence_J) > Signal.RELATION:
        if not met.hangs:
            evidence_J[Signal.RELATION] = nan
        evidence_J[Signal.JOINT] = nan if nothing else 1.0 + met.distance
        joint.share_out(row_Q, at.relation.joint, met.distance, parts_J2F[Signal.JOINT, 0, :numeric])


@compiled
def _twice(row_Q: Float64, at: At, numeric: int) -> bool:
    """Whether any time of day was seen twice."""
    most = 0.0
    for d in range(numeric):
        most = max(most, row_Q[at.season.count + d])
    return most > 0


@compiled
def _shift(row_Q: Float64, place: int, z: float, sides: Sides, d: int, window: Window) -> float:
    """The square of the moving average, to the side that counts: in units of a value's variance over its window, were the
    values independent."""
    told = nan if isnan(z) else min(max(z, -VALUE_WINSOR), VALUE_WINSOR)
    return errors.counted(sides, d, moved(row_Q, place, told, window)) ** 2 * window.events
