"""Judges the events of a round: from the output of the network to a p-value, and to the value with which each event was
compared. All of it is compiled code, one step after the other over the rows.

Shapes: B rows, D numeric features, F all features, J kinds of evidence, R reconstructed events.
"""

from __future__ import annotations

from math import isnan, nan, sqrt
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import (
    autoregression,
    burst,
    calibration,
    combination,
    errors,
    expectation,
    moments,
    normalizer,
    odds,
    quiet,
    shape,
    signals,
    values,
)
from anomaly_daemon.detection.calibration import Judged, Shared
from anomaly_daemon.detection.combination import Combined
from anomaly_daemon.detection.elementary import exponentials
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.expectation import Compared, Predicted, Unit
from anomaly_daemon.detection.normalizer import Measured
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.passage import Passed
from anomaly_daemon.detection.signals import NETWORK_SIGNALS, Signal, kinds
from anomaly_daemon.detection.state import StateLayout
from anomaly_daemon.detection.weighed import Seen, Weighed
from anomaly_daemon.detection.weights import Weights

NETWORK_KINDS = tuple(int(one) for one in NETWORK_SIGNALS)
QUIET, AUTOREGRESSION, SHAPE = int(Signal.QUIET), int(Signal.AUTOREGRESSION), int(Signal.SHAPE)
BURST = int(Signal.BURST)

COUNTED_FOR = 900
"""Number of events, after `TRUSTED_AFTER` of each kind, for which quiet, autoregression and shape evidence is only counted
before it contributes: a machine that switches on and off must have done so at least once."""


class At(NamedTuple):
    """The places in a row of the columns that are read here."""

    signals: signals.At
    calibration: calibration.At
    combination: combination.At
    normalizer: normalizer.At
    window: int


class Fixed(NamedTuple):
    """The parameters that do not change from event to event."""

    weights: Weights
    sides: Sides
    tails: Shared
    odds_J: Float64
    silent_J: npt.NDArray[np.bool_]
    """The kinds of evidence that do not count."""
    log_D: npt.NDArray[np.bool_]
    normalizer: int
    """The kind of the normaliser, as its code."""
    adaptation: float
    """The number of events that the normaliser remembers."""
    grace: float
    """The number of events after which a stream is known."""
    stuck: bool
    """Whether values that do not move are reported by the stuck kind of anomaly."""


class Judgement(NamedTuple):
    """The results of a round."""

    weighed: Weighed
    judged: Judged
    combined: Combined
    compared: Compared
    predicted: Predicted
    method_B: Float64
    """How the p-value of the leading evidence was obtained."""
    parts_B2F: Float64
    """The parts of the leading evidence, by head and feature."""
    score_B: Float64
    sustained_B: Float64
    """The p-values for scores, in which an anomaly that lasts counts."""
    begun_B: npt.NDArray[np.bool_]
    """Whether what is known of some field was reset."""

    @classmethod
    def blank(cls, rows: int, numeric: int, features: int) -> Self:
        """Return arrays for this many rows; most are uninitialised."""
        return cls(
            Weighed.blank(rows, kinds(numeric), numeric, features),
            Judged(*(np.empty((rows, kinds(numeric))) for _ in Judged._fields)),
            Combined(np.empty(rows), np.zeros(rows, np.int64)),
            Compared.blank((rows, numeric)),
            Predicted(*(np.empty((rows, numeric)) for _ in Predicted._fields)),
            np.empty(rows),
            np.empty((rows, 2, features)),
            np.empty(rows),
            np.empty(rows),
            np.empty(rows, np.bool_),
        )


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    evidence, joined = (signals.at(layout), calibration.at(layout)), combination.at(layout)
    return At(*evidence, joined, normalizer.at(layout), layout.start("window"))


@compiled
def judge(
    carried_BP: Float32,
    statistics_BQ: Float64,
    at: At,
    fixed: Fixed,
    seen: Seen,
    visit_B: Float64,
    measured: Measured,
    passed: Passed,
    out: Judgement,
) -> None:
    """Judge the event of each row, into `out`, and update the rows with it. The categorical errors in `seen.raw_B2F`
    must have been filled in before."""
    _raw(carried_BP, statistics_BQ, at, fixed, seen, measured, passed, out.predicted)
    _begin(carried_BP, statistics_BQ, at, seen, out.begun_B)
    weighed, leading_B = out.weighed, out.combined.leading
    signals.weigh(carried_BP, statistics_BQ, at.signals, seen, visit_B, fixed.weights, fixed.sides, weighed)
    _silence(statistics_BQ, at, fixed, seen.raw_B2F.shape[2], weighed.evidence_BJ)
    memory = calibration.MEMORY * fixed.adaptation
    calibration.judge_each(
        carried_BP, statistics_BQ, at.calibration, fixed.tails, weighed.evidence_BJ, memory, seen.pace_B, out.judged
    )
    _withhold(statistics_BQ, at.signals.values, seen.x_BD.shape[1], weighed.evidence_BJ, out.judged.p)
    odds.by_the_clock(statistics_BQ, at.signals.values.rhythm, weighed, out.judged.weight)
    combination.harmonic(out.judged.p, fixed.odds_J, out.judged.weight, out.combined)
    combination.sustain(statistics_BQ, at.combination, fixed.weights.drift.rate, out.combined.p, out.sustained_B)
    if fixed.stuck and _leave_to_stuck(weighed, out.judged.p) > 0:
        combination.harmonic(out.judged.p, fixed.odds_J, out.judged.weight, out.combined)
    _lead(out)
    unit = Unit(measured.center, measured.scale, at.normalizer.count, fixed.log_D)
    expectation.compare(statistics_BQ, at.signals, weighed, leading_B, out.predicted, seen.x_BD, unit, out.compared)
    normalizer.learn(statistics_BQ, at.normalizer, fixed.normalizer, fixed.adaptation, seen.x_BD, seen.pace_B)


@compiled
def _begin(carried_BP: Float32, statistics_BQ: Float64, at: At, seen: Seen, begun_B: npt.NDArray[np.bool_]) -> None:
    """Reset what is known of a field where its first values turn out to say nothing about it."""
    numeric = seen.x_BD.shape[1]
    for b in range(len(statistics_BQ)):
        carried_P, row_Q, begun_B[b] = carried_BP[b], statistics_BQ[b], False
        for d in range(numeric):
            if signals.begins(carried_P, row_Q, at.signals, numeric, d, seen.x_BD[b, d], seen.raw_B2F[b]):
                normalizer.begin(row_Q, at.normalizer, d)
                begun_B[b] = True


@compiled
def _raw(
    carried_BP: Float32,
    statistics_BQ: Float64,
    at: At,
    fixed: Fixed,
    seen: Seen,
    measured: Measured,
    passed: Passed,
    predicted: Predicted,
) -> None:
    """Compute the errors of both heads: of the prediction in units of the predicted scale, and also in standard
    deviations of the stream's own."""
    _, events, numeric = passed.rebuilt_BRD.shape
    for b in range(len(statistics_BQ)):
        window_RD = carried_BP[b, at.window : at.window + events * numeric].reshape(events, numeric)
        there_D, raw_D = predicted.off[b], seen.raw_B2F[b, 1, :numeric]  # the first is unused until then
        errors.reconstruction_errors(window_RD, passed.rebuilt_BRD[b], fixed.sides, there_D, raw_D)
    _predict(measured, passed, predicted)
    for b in range(len(statistics_BQ)):
        for d in range(numeric):
            there, error, off = measured.mask[b, d] > 0, predicted.location[b, d], predicted.off[b, d]
            seen.raw_B2F[b, 0, d], predicted.off[b, d] = error if there else nan, abs(off) if there else nan
            predicted.location[b, d] = passed.location_BD[b, d]
            predicted.scale[b, d] *= _own_scale(statistics_BQ[b], at, d)


@compiled
def _predict(measured: Measured, passed: Passed, predicted: Predicted) -> None:
    """Compute the error in standard deviations, the predicted scale, and the error in units of that scale, which is
    stored in place of the location for now. One loop over all rows is vectorised."""
    y_N, location_N, scale_N = measured.y.reshape(-1), passed.location_BD.reshape(-1), predicted.scale.reshape(-1)
    error_N, off_N = predicted.location.reshape(-1), predicted.off.reshape(-1)
    exponentials(passed.log_scale_BD.reshape(-1), scale_N)
    for n in range(len(y_N)):
        error_N[n], off_N[n] = errors.prediction_error(float(y_N[n]), location_N[n], scale_N[n])


@compiled
def _own_scale(row_Q: Float64, at: At, d: int) -> float:
    """Return the standard deviation of the prediction's errors. While it is not known it is 1: then the scale that the
    network predicted is used as it is."""
    error = at.signals.error
    return sqrt(row_Q[error.variance + d]) if row_Q[error.count + d] >= moments.KNOWN_AFTER else 1.0


@compiled
def _silence(statistics_BQ: Float64, at: At, fixed: Fixed, features: int, evidence_BJ: Float64) -> None:
    """Remove the kinds of evidence that do not count. Where a known stream has a new network, also remove the evidence
    from its errors until the scales of these are known."""
    for b in range(len(statistics_BQ)):
        row_Q = statistics_BQ[b]
        for j in range(len(fixed.silent_J)):
            if fixed.silent_J[j]:
                evidence_BJ[b, j] = nan
        if row_Q[at.calibration.count] >= fixed.grace:
            most = 0.0
            for i in range(2 * features):
                most = max(most, row_Q[at.signals.error.count + i])
            if most < fixed.grace:
                for j in NETWORK_KINDS:
                    evidence_BJ[b, j] = nan


@compiled
def _withhold(statistics_BQ: Float64, at: values.At, numeric: int, evidence_BJ: Float64, p_BJ: Float64) -> None:
    """Withhold the p-values of kinds that start when a stream is known already, while they are only counted: compared
    with what all streams show, the first night of a machine would be an anomaly. Also set the p-value of events that
    come only a little faster than usual to 1."""
    for b in range(len(p_BJ)):
        if evidence_BJ[b, BURST] < burst.LEAST:
            p_BJ[b, BURST] = 1.0
        steps, own, pieces = 0.0, 0.0, 0.0
        for d in range(numeric):
            steps = max(steps, statistics_BQ[b, at.quiet.count + d])
            own = max(own, statistics_BQ[b, at.autoregression.count + d])
            pieces = max(pieces, statistics_BQ[b, at.shape.count + d])
        if steps <= quiet.TRUSTED_AFTER + COUNTED_FOR:
            p_BJ[b, QUIET] = nan
        if own <= autoregression.TRUSTED_AFTER + COUNTED_FOR:
            p_BJ[b, AUTOREGRESSION] = nan
        if pieces <= shape.TRUSTED_AFTER + COUNTED_FOR:
            p_BJ[b, SHAPE] = nan


@compiled
def _leave_to_stuck(weighed: Weighed, p_BJ: Float64) -> int:
    """Set the p-value of quiet evidence to 1 where the value does not move at all. Such a value is quiet, too, and the
    score shows it, but the alarm is left to `stuck`, which judges by how long that field usually rests. The other kinds
    still count. Return the number of such rows."""
    rest = 0
    for b in range(len(p_BJ)):
        part_D, first = weighed.parts_BJ2F[b, QUIET, 0], 0
        for d in range(weighed.rests_BD.shape[1]):
            first = d if part_D[d] > part_D[first] else first
        if weighed.rests_BD.shape[1] > 0 and part_D[first] > 0.0 and weighed.rests_BD[b, first]:
            p_BJ[b, QUIET] = 1.0
            rest += 1
    return rest


@compiled
def _lead(out: Judgement) -> None:
    """Copy the parts of the leading evidence, and compute the score: the fourth root of their sum."""
    for b in range(len(out.score_B)):
        total = led_by(out, b, out.combined.leading[b])
        out.score_B[b] = nan if isnan(total) else sqrt(sqrt(total))


@compiled
def led_by(out: Judgement, b: int, leading: int) -> float:
    """Copy the parts and the method of this kind of evidence. Return the sum of the parts, or the value in its place."""
    total = 0.0
    out.method_B[b] = out.judged.method[b, leading]
    for head in range(2):
        for f in range(out.parts_B2F.shape[2]):
            part = out.weighed.parts_BJ2F[b, leading, head, f]
            out.parts_B2F[b, head, f] = part
            total += part
    if leading == BURST:  # burst evidence belongs to no field
        total = out.weighed.evidence_BJ[b, BURST] ** 2
    return total
