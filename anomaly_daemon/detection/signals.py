"""The kinds of evidence for an anomaly, each of which examines a stream in its own way.

A predictor that follows a slow shift makes no error, and one that has never seen a stream's Tuesday mornings makes
errors every Tuesday: no single kind finds everything. All kinds are causal. Each is measured by the stream's own long
past and calibrated separately.

Shapes: B rows, D numeric and C categorical features, F = D + C, J signals.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from math import isnan, nan, sqrt
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import autoregression, burst, errors, joint, moments, relation, season, values
from anomaly_daemon.detection.averages import moved
from anomaly_daemon.detection.calibration import Calibration
from anomaly_daemon.detection.elementary import exp, logarithms
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.state import Column, StateLayout
from anomaly_daemon.detection.weighed import Seen, Weighed
from anomaly_daemon.detection.weights import Weights


class Signal(IntEnum):
    """The kinds of evidence, in the order of their columns."""

    POINT = 0
    """This event's errors of prediction and reconstruction."""
    WINDOW = 1
    """The moving average of those errors: a change of shape that no single event shows."""
    CHANGE = 2
    """The moving average of squared steps from one value to the next: jumps, or a flutter."""
    LEVEL = 3
    """The moving average of the values: a lasting shift, which a good predictor follows without an error."""
    DRIFT = 4
    """The same over a longer window: a slow drift."""
    SEASON = 5
    """The moving average of the values relative to the same time of earlier days."""
    QUIET = 6
    """How much less than usual the values move: a sensor that freezes, or nearly."""
    AUTOREGRESSION = 7
    """The moving average of squared errors of predicting the next value from the stream's own last values."""
    SHAPE = 8
    """The moving average of squared distances of the last values from the nearest shape that the stream has shown."""
    BURST = 9
    """How much faster than usual the events come, where a stream has no regular pace. It belongs to no field."""
    RELATION = 10
    """The moving average of the values relative to what the other fields suggest at the same moment."""
    JOINT = 11
    """All fields at once compared with all that the stream has shown of them. RELATION and JOINT are the last, because
    streams of one field have neither (`kinds`)."""


NETWORK_SIGNALS = [Signal.POINT, Signal.WINDOW]
"""The kinds that are made of the network's errors: their meaning changes with the model."""

ODDS = np.array([0.3, 1.0, 1.0, 1.0, 0.5, 0.6, 0.2, 0.5, 0.5, 0.05, 0.2, 0.5])
"""Prior odds that each kind indicates an anomaly, which weigh the p-values of an event. A lone error is mostly noise; a
moving average that wandered for long often is an anomaly. An unusual hour is, as far as the clock explains the values
(`odds`). A value at rest mostly has reason to be. Fields that depend on each other mostly come apart without a fault.
People have busy days, but a burst beyond those is certain."""

NAMES = tuple(one.name.lower() for one in Signal)

NAMED_BEFORE = ("point", "window", "change", "level", "drift", "season", "relation", "joint")
"""The kinds of a calibration without names, in order; it has as many of the first ones as its release knew."""

ERROR_FLOOR = 0.03
"""The least standard deviation of an error, in units of the predicted scale."""

ERROR_WINSOR = 8.0
"""An error further off than this many standard deviations is learned as if it were this far. A deviation that occurs
more often than once in the square of the limit becomes usual: of values once in 25 events, of errors in 64."""

SQUARE_WINSOR = 50.0
"""A squared standardised error enters a moving average as at most this, so that one spike is no drift."""


def kinds(numeric: int) -> int:
    """Return how many kinds there are for this many numeric features."""
    return len(Signal) if relation.possible(numeric) else int(Signal.RELATION)


def named(measured: Calibration) -> Calibration:
    """Return a calibration with named kinds. Raises ValueError if no release made an unnamed one of this many kinds."""
    if measured.names:
        return measured
    if not NAMED_BEFORE.index("relation") <= measured.kinds <= len(NAMED_BEFORE):
        raise ValueError(f"no release wrote a calibration with {measured.kinds} unnamed kinds of evidence")
    return replace(measured, names=NAMED_BEFORE[: measured.kinds])


class At(NamedTuple):
    """Where a row stores each."""

    error: moments.At
    values: values.At
    relation: relation.At
    burst: burst.At
    slow_error: int


class Known(NamedTuple):
    """The kinds of evidence that at least one field gives for an event."""

    hangs: bool
    quiet: bool
    regressed: bool
    shaped: bool


def columns(numeric: int, features: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row must have: (carried, statistics)."""
    own, related = values.columns(numeric), relation.columns(numeric)
    error = [*moments.columns("error", (2, features)), Column("slow_error", (2, features))]
    return [*own[0], *related[0]], [*error, *own[1], *related[1], *burst.columns()]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    of_values = values.at(layout), relation.at(layout)
    return At(moments.at(layout, "error"), *of_values, burst.at(layout), layout.start("slow_error"))


@compiled
def begins(carried_P: Float32, row_Q: Float64, at: At, numeric: int, d: int, x: float, raw_2F: Float64) -> bool:
    """Reset feature `d` and drop this value's errors, where `values.begins` decides so; return whether it does."""
    features = raw_2F.shape[1]
    if not values.begins(carried_P, row_Q, at.values, numeric, d, x):
        return False
    for head in range(2):
        raw_2F[head, d] = nan
        moments.begin(row_Q, at.error, head * features + d, 0.0, 0.0, 0.0)
        row_Q[at.slow_error + head * features + d] = 0.0
    if relation.possible(numeric):
        relation.begin(row_Q, at.relation, d)
    return True


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
    """Compute the evidence of each row's event into `weighed`; move the rows past it. `visit_B`: `season.visits`."""
    numeric = seen.x_BD.shape[1]
    for b in range(len(statistics_BQ)):
        carried_P, row_Q, parts_J2F = carried_BP[b], statistics_BQ[b], weighed.parts_BJ2F[b]
        season.come(carried_P, row_Q, at.values.season, numeric, visit_B[b])
        _errors(carried_P, row_Q, at, seen.raw_B2F[b], weighed.standard_B2F[b], parts_J2F, weights, sides)
        for d in range(numeric):
            weighed.level_BD[b, d] = row_Q[at.values.level.mean + d]
            weighed.level_scale_BD[b, d] = moments.scale(row_Q, at.values.level, d, values.least(row_Q, at.values, d))
        met = relation.Met(False, nan)
        if len(parts_J2F) > Signal.RELATION:
            met = _relations(carried_P, row_Q, at, seen, b, weights, sides, weighed)
        known = Known(met.hangs, False, False, False)
        for d in range(numeric):
            scale = weighed.level_scale_BD[b, d]
            x, pace, near_K = seen.x_BD[b, d], seen.pace_B[b], weighed.near_K
            found = values.meet(carried_P, row_Q, at.values, d, x, scale, pace, weights, sides, near_K)
            _note(found, x, 1.0 / numeric, b, d, weighed)
            known = _knows(known, found)
        _sum_up(row_Q, at, numeric, known, met.distance, parts_J2F, weighed.evidence_BJ[b])
        faster = burst.meet(row_Q, at.burst, seen.gap_B[b], weights.slowest, weights.burst)
        weighed.evidence_BJ[b, Signal.BURST] = nan if isnan(weighed.evidence_BJ[b, Signal.POINT]) else faster
    evidence_N = weighed.evidence_BJ.reshape(-1)
    logarithms(evidence_N, evidence_N)


@compiled
def _knows(known: Known, found: values.Statistics) -> Known:
    """Return the kinds known so far, with those that one more field gives."""
    quiet, regressed = known.quiet or not isnan(found.quiet), known.regressed or not isnan(found.regressed)
    return Known(known.hangs, quiet, regressed, known.shaped or not isnan(found.shape))


@compiled
def _relations(
    carried_P: Float32, row_Q: Float64, at: At, seen: Seen, b: int, weights: Weights, sides: Sides, weighed: Weighed
) -> relation.Met:
    """Compute the evidence of the numeric features relative to each other."""
    count = at.values.level.count
    seen_D = row_Q[count : count + seen.x_BD.shape[1]]
    fields = relation.Fields(seen.x_BD[b], seen_D, weighed.level_BD[b], weighed.level_scale_BD[b])
    part_D = weighed.parts_BJ2F[b, Signal.RELATION, 0]
    related = relation.Residuals(part_D, weighed.related_BD[b], weighed.related_scale_BD[b], weighed.related_off_BD[b])
    return relation.meet(
        carried_P,
        row_Q,
        at.relation,
        fields,
        relation.Weights(weights.slowest, weights.window, weights.joint),
        sides,
        weighed.room,
        related,
    )


@compiled
def _errors(
    carried_P: Float32,
    row_Q: Float64,
    at: At,
    raw_2F: Float64,
    standard_2F: Float64,
    parts_J2F: Float64,
    weights: Weights,
    sides: Sides,
) -> None:
    """Compute the network's point errors and their moving average. Where a field starts from scratch after a gap, its
    error is measured by at least the network's own scale (1), and is not learned."""
    features, point_2F = raw_2F.shape[1], parts_J2F[Signal.POINT]
    for head in range(2):
        for f in range(features):
            i = head * features + f
            scale = moments.scale(row_Q, at.error, i, ERROR_FLOOR)
            if f < len(sides.least_D) and autoregression.interrupted(carried_P, at.values.autoregression, f):
                standard = (raw_2F[head, f] - row_Q[at.error.mean + i]) / max(scale, 1.0)
            else:
                standard = moments.meet(row_Q, at.error, i, raw_2F[head, f], scale, weights.slowest, ERROR_WINSOR)
            standard_2F[head, f] = standard
            point_2F[head, f] = errors.counted_of_head(sides, head, f, standard, raw_2F[0, f])
    errors.weigh(point_2F, weights.prediction)
    for head in range(2):
        for f in range(features):
            error, place = point_2F[head, f], at.slow_error + head * features + f
            error = SQUARE_WINSOR if error > SQUARE_WINSOR else error
            parts_J2F[Signal.WINDOW, head, f] = moved(row_Q, place, error, weights.window)


@compiled
def _note(found: values.Statistics, x: float, share: float, b: int, d: int, weighed: Weighed) -> None:
    """Store what one numeric feature's values show: parts of the evidence, and what they are compared with."""
    parts_J2F, level, scale = weighed.parts_BJ2F[b], weighed.level_BD[b, d], weighed.level_scale_BD[b, d]
    parts_J2F[Signal.CHANGE, 0, d], parts_J2F[Signal.LEVEL, 0, d] = share * found.change, share * found.level
    parts_J2F[Signal.DRIFT, 0, d], parts_J2F[Signal.SEASON, 0, d] = share * found.drift, share * found.season
    parts_J2F[Signal.QUIET, 0, d] = 0.0 if isnan(found.quiet) else share * found.quiet
    parts_J2F[Signal.AUTOREGRESSION, 0, d] = 0.0 if isnan(found.regressed) else share * found.regressed
    parts_J2F[Signal.SHAPE, 0, d] = 0.0 if isnan(found.shape) else share * found.shape
    weighed.usual_BD[b, d], weighed.usual_scale_BD[b, d] = found.usual.usual, found.usual.scale
    weighed.rests_BD[b, d] = found.rests
    expected = level + scale * found.own.expected
    weighed.regressed_BD[b, d], weighed.regressed_scale_BD[b, d] = expected, scale * found.own.scale
    weighed.regressed_off_BD[b, d] = (x - expected) / scale
    shaped = level + scale * found.shaped.expected
    weighed.shaped_BD[b, d], weighed.shaped_scale_BD[b, d] = shaped, scale * found.shaped.scale
    weighed.shaped_off_BD[b, d], weighed.shaped_there_BD[b, d] = found.shaped.off, level + scale * found.shaped.there


@compiled
def _sum_up(
    row_Q: Float64, at: At, numeric: int, known: Known, distance: float, parts_J2F: Float64, evidence_J: Float64
) -> None:
    """Sum the parts of each kind. They are squared first: an error in one feature of many counts for more than the same
    amount spread thinly over all. A category has neither step nor level. The caller takes the logarithm."""
    features, nothing = parts_J2F.shape[2], isnan(parts_J2F[Signal.POINT, 0, 0])
    for j in range(min(len(evidence_J), Signal.JOINT.value)):
        total = 0.0
        for head in range(2 if j <= Signal.WINDOW else 1):
            for f in range(features if j <= Signal.WINDOW else numeric):
                part = parts_J2F[j, head, f]
                parts_J2F[j, head, f] = features * part * part
                total += parts_J2F[j, head, f]
        evidence_J[j] = nan if nothing else 1.0 + sqrt(total)
        if j == Signal.QUIET:  # the sum is a logarithm already
            evidence_J[j] = exp(evidence_J[j] - 1.0) if known.quiet else nan
    if not _twice(row_Q, at, numeric):
        evidence_J[Signal.SEASON] = nan
    if not known.regressed:
        evidence_J[Signal.AUTOREGRESSION] = nan
    if not known.shaped:
        evidence_J[Signal.SHAPE] = nan
    if len(evidence_J) > Signal.RELATION:
        if not known.hangs:
            evidence_J[Signal.RELATION] = nan
        evidence_J[Signal.JOINT] = nan if nothing else 1.0 + distance
        joint.share_out(row_Q, at.relation.joint, distance, parts_J2F[Signal.JOINT, 0, :numeric])


@compiled
def _twice(row_Q: Float64, at: At, numeric: int) -> bool:
    """Return whether any time of day was seen on two days."""
    most = 0.0
    for d in range(numeric):
        most = max(most, row_Q[at.values.season.count + d])
    return most > 0
