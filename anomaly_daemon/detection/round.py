"""One round: one event of each of B streams, from what is left out to what is told.

Shapes: B rows, D numeric and C categorical features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import episode, feedback, timers, watch
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.calibration import Method
from anomaly_daemon.detection.episode import KINDS, SEVERITY_AT_LIMIT, Sighting, Turn
from anomaly_daemon.detection.errors import or_zero
from anomaly_daemon.detection.explain import Cause, pattern_cause, silence_cause, watch_cause
from anomaly_daemon.detection.observation import MISSING_CATEGORY, Float64, Int64, Observations, Presence
from anomaly_daemon.detection.order import Clock
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.scorer import Scored, Scorer
from anomaly_daemon.detection.scores import Scores, Status
from anomaly_daemon.detection.state import Rows
from anomaly_daemon.detection.telling import Teller, Told

PACE_IN_EPISODE = 0.25
"""How much an event teaches while its stream's pattern episode is open: a long anomaly must not become the norm
before `accept_seconds` say so, yet a false one must not last for ever."""

CATEGORY_FLOOR = 2.0
"""A categorical error of this size passes the magnitude floor: the class is e**2 times rarer than the likeliest."""


class Round:
    """One event of each of B streams."""

    def __init__(
        self,
        scorer: Scorer,
        teller: Teller,
        observations: Observations,
        clock: Clock,
        at_B: Int64,
        row_B: Int64,
        scores: Scores,
    ) -> None:
        self.scorer, self.teller = scorer, teller
        self.observations, self.clock, self.scores = observations, clock, scores
        self.rules, self.schema = scorer.rules, scorer.schema
        rows = teller.slab.gather(row_B)
        time_B = observations.time_N[at_B].astype(np.float64)
        if self.rules.accept_late:
            time_B = np.maximum(time_B, rows["last_time"])
        late, double = self._left_out(rows, at_B, time_B)
        scores.status_N[at_B[late]] = Status.LATE
        scores.status_N[at_B[double]] = Status.DUPLICATE
        keep = ~(late | double)
        if not keep.all():  # a copy of everything, so only then
            at_B, row_B, time_B, rows = at_B[keep], row_B[keep], time_B[keep], rows.take(keep)
        self.at_B, self.row_B, self.time_B, self.rows = at_B, row_B, time_B, rows
        self.values_BD = observations.values_ND[self.at_B]
        self.codes_BC = observations.categories_NC[self.at_B]

    def _left_out(
        self, rows: Rows, at_B: Int64, time_B: Float64
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        seen, last_B = rows["seen"] > 0, rows["last_time"]
        values_BD, last_BD = self.observations.values_ND[at_B], rows["last_values"]
        same = ((values_BD == last_BD) | (np.isnan(values_BD) & np.isnan(last_BD))).all(axis=1)
        same &= (self.observations.categories_NC[at_B] == rows["last_codes"]).all(axis=1)
        return seen & (time_B < last_B), seen & (time_B == last_B) & same

    def run(self) -> list[Told]:
        if len(self.rows) == 0:
            return []
        rows, rules = self.rows, self.rules
        before_B = self.clock.before_N[self.at_B]
        told = [self._tell(one, silence_of(rows, one), at) for at, one in timers.fall_due(rows, before_B, rules)]
        rows.reset(timers.forgotten(rows, before_B, rules))
        told += [
            self._tell(one, silence_of(rows, one)) for one in timers.back(rows, self.time_B, self._offset(), rules)
        ]
        first = rows["seen"] == 0
        gap_B = np.where(first, np.nan, self.time_B - rows["last_time"])
        threshold_B = timers.threshold(rows, rules)
        scored = self._score(gap_B)
        told += self._watch(threshold_B)
        told += self._pattern(scored, feedback.moved(rows, threshold_B))
        feedback.settle(rows, rows["episode_open"][:, KINDS.index(Kind.PATTERN)] > 0)
        timers.beat(rows, self.time_B, before_B, gap_B, rules)
        self._remember(first)
        self.teller.slab.scatter(self.row_B, rows)
        return told

    def _offset(self) -> Float64:
        return self.observations.offset_N[self.at_B].astype(np.float64)

    def _tell(self, one: Turn, cause: Cause, passed: float | None = None) -> Told:
        by = self.clock.at(int(self.at_B[one.row])) if passed is None else self.clock.passed(passed)
        return self.teller.tell(self.rows, one, self.row_B, by, cause)

    def _score(self, gap_B: Float64) -> Scored:
        open_B = self.rows["episode_open"][:, KINDS.index(Kind.PATTERN)] > 0
        pace_B = np.where(open_B, PACE_IN_EPISODE, 1.0)
        moment = Moment(
            self.time_B.astype(np.int64), gap_B, self.rows["gap_mean"].copy(), self.values_BD, self.codes_BC, pace_B
        )
        return self.scorer.score(self.rows, moment)

    def _sighting(self, alarm: npt.NDArray[np.bool_], calm: npt.NDArray[np.bool_], severity_B: Float64) -> Sighting:
        index_B = self.observations.index_N[self.at_B].astype(np.float64)
        return Sighting(alarm, calm, severity_B, self.time_B, self._offset(), index_B)

    def _pattern(self, scored: Scored, threshold_B: Float64) -> list[Told]:
        rows, p_B = self.rows, scored.p_B
        known = ~np.isnan(p_B)
        warm = rows["cal_count"] >= self.rules.grace_events
        with np.errstate(divide="ignore"):
            severity_B = np.clip(SEVERITY_AT_LIMIT * np.log10(p_B) / np.log10(threshold_B), 0.0, 100.0)
        alarm = known & warm & (p_B <= threshold_B) & self._large(scored)
        calm = known & ~alarm & (p_B > threshold_B * self.rules.episode.close_ratio)
        self._report(scored, threshold_B, severity_B, np.where(warm, Status.SCORED, Status.WARMING))
        turns = episode.turn(rows, Kind.PATTERN, self._sighting(alarm, calm, or_zero(severity_B)), self.rules.episode)
        told = []
        for one in turns:
            rows["opens"][one.row] += one.event is Event.OPEN
            told.append(self._tell(one, self._pattern_cause(scored, one.row, float(threshold_B[one.row]))))
            self._accept(one)
        return told

    def _large(self, scored: Scored) -> npt.NDArray[np.bool_]:
        """Past the magnitude floor: some feature is far from what was expected in its own units, not only improbable."""
        far = or_zero(scored.of.deviation) >= self.rules.episode.magnitude_floor
        categorical_BC = scored.standard_B2F[:, 0, len(self.schema.numeric) :]
        return np.asarray(far.any(axis=1) | (or_zero(categorical_BC) >= CATEGORY_FLOOR).any(axis=1))

    def _pattern_cause(self, scored: Scored, row: int, threshold: float) -> Cause:
        if np.isnan(scored.p_B[row]):
            return Cause("", threshold=threshold, p_method=Method.BODY.name.lower())
        names = self.observations.category_names
        texts = [names.get(code) for code in self.codes_BC[row].tolist()]
        return pattern_cause(self.schema, scored, row, self.values_BD[row], texts, threshold)

    def _watch(self, threshold_B: Float64) -> list[Told]:
        presence_BF = np.concatenate(
            [
                self.observations.presence_ND[self.at_B],
                np.where(self.codes_BC == MISSING_CATEGORY, Presence.ABSENT, Presence.PRESENT).astype(np.uint8),
            ],
            axis=1,
        )
        rule = self.rules.schema_change
        seen = {
            Kind.SCHEMA: watch.schema_change(self.rows, self.values_BD, presence_BF, threshold_B, rule),
            Kind.STUCK: watch.stuck(self.rows, self.values_BD, threshold_B, self.rules.stuck),
        }
        return [one for kind, watched in seen.items() for one in self._watched(kind, watched)]

    def _watched(self, kind: Kind, watched: watch.Watched) -> list[Told]:
        severity_B = np.minimum(SEVERITY_AT_LIMIT * watched.ratio, 100.0)
        sighting = self._sighting(watched.alarm, ~watched.alarm, severity_B)
        told = []
        for one in episode.turn(self.rows, kind, sighting, timers.at_once(self.rules)):
            told.append(self._tell(one, watch_cause(self.schema, watched, one.row, self.values_BD[one.row])))
            self._accept(one)
        return told

    def _accept(self, one: Turn) -> None:
        if one.reason is episode.Reason.ACCEPTED:
            watch.forget(self.rows, one.row, one.kind, self.rules)

    def _report(
        self, scored: Scored, threshold_B: Float64, severity_B: Float64, status_B: npt.NDArray[np.int64]
    ) -> None:
        scores, at_B = self.scores, self.at_B
        nothing = np.isnan(self.values_BD).all(axis=1) & (self.codes_BC == MISSING_CATEGORY).all(axis=1)
        scores.status_N[at_B] = np.where(nothing, Status.MISSING, status_B)
        scores.score_N[at_B], scores.p_value_N[at_B] = scored.score_B, scored.p_B
        scores.threshold_N[at_B], scores.severity_N[at_B] = threshold_B, severity_B
        scores.prediction_NF[at_B] = scored.standard_B2F[:, 0]
        scores.reconstruction_NF[at_B] = scored.standard_B2F[:, 1]
        numeric = len(self.schema.numeric)
        scores.expected_NF[at_B, :numeric] = scored.of.expected
        scores.lower_NF[at_B, :numeric], scores.upper_NF[at_B, :numeric] = scored.of.lower, scored.of.upper
        scores.evidence_NJ[at_B] = scored.evidence_BJ

    def _remember(self, first: npt.NDArray[np.bool_]) -> None:
        rows = self.rows
        rows["seen"] = rows["seen"] + 1
        rows["first_time"] = np.where(first, self.time_B, rows["first_time"])
        rows["last_time"] = self.time_B
        rows["last_codes"] = self.codes_BC
        rows["last_offset"], rows["last_index"] = self._offset(), self.observations.index_N[self.at_B]


def silence_of(rows: Rows, one: Turn) -> Cause:
    if one.kind is not Kind.SILENCE:
        return Cause("")
    until = one.end if one.end is not None else one.start
    return silence_cause((until - float(rows["last_time"][one.row])) / 1e6, float(rows["gap_mean"][one.row]) / 1e6)
