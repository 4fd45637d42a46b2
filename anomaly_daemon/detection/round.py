"""One round: one event of each of B streams, from skipping late and duplicate events to the alerts.

Shapes: B rows, D numeric and C categorical features.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import acceptance, arrival, episode, floors, rate, realised, timers, verdict, watch
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.arrival import Arrived, Begun, Sorted
from anomaly_daemon.detection.calibration import Method
from anomaly_daemon.detection.episode import KINDS, SEVERITY_AT_LIMIT, Sighting, Turn
from anomaly_daemon.detection.errors import or_zero
from anomaly_daemon.detection.explain import Cause, leading_field, pattern_cause, silence_cause, watch_cause
from anomaly_daemon.detection.mute import Muted, Mutes, matches
from anomaly_daemon.detection.observation import Float64, Int64, Observations
from anomaly_daemon.detection.order import Clock
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.rules import EpisodeRule, Rules
from anomaly_daemon.detection.scorer import Scored, Scorer
from anomaly_daemon.detection.scores import Reported, Scores, Status
from anomaly_daemon.detection.state import Rows, Slab
from anomaly_daemon.detection.telling import Raised, Teller
from anomaly_daemon.detection.timers import Waits
from anomaly_daemon.detection.verdict import Verdict


class Numbers(NamedTuple):
    """The rules, as the numbers that the computation uses."""

    waits: Waits
    watched: watch.Rule
    pattern: verdict.Limits
    at_once: EpisodeRule
    """The rule for kinds of episodes whose end is certain (`timers.at_once`)."""
    mutes: Mutes | None
    short_lived: tuple[str, ...]

    @classmethod
    def of(cls, rules: Rules, timezone: str) -> Self:
        """Convert all rules; mute windows follow the calendar of this time zone."""
        limits = Waits.of(rules), watch.Rule.of(rules), verdict.Limits.of(rules)
        mutes = Mutes.of(rules.mute, timezone)
        return cls(*limits, timers.at_once(rules), mutes, rules.silence.short_lived)

    def keyed(self, slab: Slab, row_B: Int64) -> timers.Keyed:
        """Return what depends on the keys of these rows' streams."""
        until = None if self.mutes is None else partial(self.mutes.until, slab.key_of, row_B)
        ends = partial(_of_patterns, self.short_lived, slab.key_of, row_B) if self.short_lived else None
        return timers.Keyed(until, ends)


def _of_patterns(
    patterns: tuple[str, ...], key_of: Mapping[int, str], row_B: Int64, which: Int64
) -> npt.NDArray[np.bool_]:
    """Return which of the rows `which` of `row_B` have a stream whose key matches one of the patterns."""
    return np.array([matches(patterns, key_of[row]) for row in row_B[which].tolist()], bool)


class Round:
    """One event of each of B streams."""

    def __init__(
        self,
        scorer: Scorer,
        teller: Teller,
        numbers: Numbers,
        observations: Observations,
        clock: Clock,
        at_B: Int64,
        row_B: Int64,
        scores: Scores,
        muted: Muted | None = None,
    ) -> None:
        """`muted`: the effect of mute windows; None where no event of the batch lies in one."""
        self.scorer, self.teller, self.numbers = scorer, teller, numbers
        self.observations, self.clock, self.scores, self.muted = observations, clock, scores, muted
        self.rules, self.schema = scorer.rules, scorer.schema
        self.at_B, self.row_B, self.rows = at_B, row_B, teller.slab.gather(row_B)
        self.arrived = Arrived(
            observations.time_N[at_B].astype(np.float64),
            clock.before_N[at_B],
            observations.offset_N[at_B].astype(np.float64),
            observations.index_N[at_B].astype(np.float64),
            observations.values_ND.take(at_B, axis=0),
            observations.categories_NC.take(at_B, axis=0),
            np.zeros(len(at_B), bool),
        )
        self.at, found = self.rows.layout.of(arrival.at), Sorted.blank(len(at_B))
        left_out, self.due = arrival.sort_out(
            self.rows.statistics_BQ, self.at, self.arrived, self.rules.accept_late, self.numbers.waits, found
        )
        if left_out:
            self._leave_out(found)

    def _leave_out(self, found: Sorted) -> None:
        """Skip late and duplicate events. This copies everything, so it is called only where there are some."""
        self.scores.status_N[self.at_B[found.late]] = Status.LATE
        self.scores.status_N[self.at_B[found.double]] = Status.DUPLICATE
        self._keep(~(found.late | found.double))

    def _keep(self, keep: npt.NDArray[np.bool_]) -> None:
        self.at_B, self.row_B = self.at_B[keep], self.row_B[keep]
        self.arrived, self.rows = self.arrived.kept(keep), self.rows.take(keep)

    def run(self) -> list[Raised]:
        if len(self.rows) == 0:
            return []
        rows, block_BQ = self.rows, self.rows.statistics_BQ
        raised = self._timers() if self.due else []
        begun, open_E = Begun.blank(len(rows)), np.zeros(len(KINDS), np.int64)
        arrival.begin(block_BQ, self.at, self.arrived, self.numbers.waits, begun, open_E)
        came = self.arrived
        if len(self.scorer.counters):
            self._count(begun)
        scored = self.scorer.score(rows, self._moment(begun))
        raised += self._watch(begun.threshold, open_E)
        raised += self._pattern(scored, begun.moved, open_E)
        arrival.leave(block_BQ, self.at, came, self._gaps(begun), self.numbers.waits)
        self.teller.slab.scatter(self.row_B, rows)
        return raised

    def _count(self, begun: Begun) -> None:
        """Replace the values of counters by what they counted per second."""
        arrived, counter_C = self.arrived, self.scorer.counters
        rated_BD = rate.per_second(self.rows, counter_C, arrived.time_B, begun.apart, arrived.values_BD)
        self.arrived, self.scores.rate_NC[self.at_B] = arrived._replace(values_BD=rated_BD), rated_BD[:, counter_C]

    def _gaps(self, begun: Begun) -> Float64:
        """Return the gap to be learned for each row: of a long gap the part that no mute window covers, or NaN where
        that part is shorter than usual."""
        mutes, key_of = self.numbers.mutes, self.teller.slab.key_of
        long = timers.long_gaps(self.rows, begun.gap, self.numbers.waits) if mutes else []
        if mutes is None or not long:
            return begun.gap
        gap_B = begun.gap.copy()
        for b in long:
            span = float(self.rows["last_time"][b]), float(self.arrived.time_B[b])
            left = gap_B[b] - mutes.covered(key_of[int(self.row_B[b])], *span)
            gap_B[b] = left if left >= begun.typical_gap[b] else np.nan
        return gap_B

    def _timers(self) -> list[Raised]:
        """Handle the timers that are due and the silences that are over. Called only where some row has one."""
        rows, rules, arrived = self.rows, self.rules, self.arrived
        due = timers.fall_due(rows, arrived.watermark_B, rules, self.numbers.keyed(self.teller.slab, self.row_B))
        raised = [self._tell(one, silence_of(rows, one), at) for at, one in due]
        rows.reset(timers.forgotten(rows, arrived.watermark_B, rules))
        back = timers.back(rows, arrived.time_B, arrived.offset_B, rules)
        return raised + [self._tell(one, silence_of(rows, one)) for one in back]

    def _moment(self, begun: Begun) -> Moment:
        arrived = self.arrived
        return Moment(
            arrived.time_B.astype(np.int64),
            begun.gap,
            begun.typical_gap,
            arrived.values_BD,
            arrived.codes_BC,
            begun.pace,
            begun.apart,
        )

    def _tell(self, one: Turn, cause: Cause, passed: float | None = None) -> Raised:
        by = self.clock.at(int(self.at_B[one.row])) if passed is None else self.clock.passed(passed)
        return self.teller.tell(self.rows, one, self.row_B, by, cause)

    def _turn(
        self,
        kind: Kind,
        alarm: npt.NDArray[np.bool_],
        calm: npt.NDArray[np.bool_],
        surprising: npt.NDArray[np.bool_],
        severity_B: Float64,
        rule: EpisodeRule,
        field_B: Int64 | int = 0,
    ) -> list[Turn]:
        """Move the episodes of one kind past the event. A mute window withholds an alarm, but does not make the event
        calm."""
        arrived = self.arrived
        if self.muted is not None:
            alarm = alarm & ~self.muted.alarms_withheld_N[self.at_B]
        sighting = Sighting(
            alarm, calm, surprising, severity_B, arrived.time_B, arrived.offset_B, arrived.index_B, field_B
        )
        return episode.turn(self.rows, kind, sighting, rule)

    def _pattern(self, scored: Scored, threshold_B: Float64, open_E: Int64) -> list[Raised]:
        rows, arrived, found = self.rows, self.arrived, Verdict.blank(len(self.rows))
        alarms = verdict.judge(
            rows.statistics_BQ,
            rows.layout.of(verdict.at),
            scored.p_B,
            scored.p_B if scored.aside is None else scored.aside.event_B,
            threshold_B,
            scored.of.deviation,
            scored.standard_B2F,
            scored.faster_B,
            arrived.values_BD,
            arrived.codes_BC,
            self.numbers.pattern,
            found,
        )
        if scored.aside is not None:
            floors.settle(scored.aside, threshold_B * self.numbers.pattern.close_ratio, found)
        self._report(scored, threshold_B, found)
        if not (alarms or open_E[arrival.PATTERN]):
            return []
        raised = []
        seen = found.alarm, found.calm, found.surprising, or_zero(found.severity)
        for one in self._turn(Kind.PATTERN, *seen, self.rules.episode, leading_field(scored)):
            if one.event is Event.OPEN:
                realised.count(rows, one.row, float(arrived.time_B[one.row]))
            raised.append(self._tell(one, self._pattern_cause(scored, one.row, float(threshold_B[one.row]))))
            self._accept(one)
        return raised

    def _pattern_cause(self, scored: Scored, row: int, threshold: float) -> Cause:
        if np.isnan(scored.p_B[row]):
            return Cause("", threshold=threshold, p_method=Method.BODY.name.lower())
        names = self.observations.category_names
        texts = [names.get(code) for code in self.arrived.codes_BC[row].tolist()]
        alone, values_D = self.rules.window_events == 1, self.arrived.values_BD[row]
        return pattern_cause(self.schema, scored, row, values_D, texts, threshold, alone=alone)

    def _watch(self, threshold_B: Float64, open_E: Int64) -> list[Raised]:
        presence_BD, arrived = self.observations.presence_ND.take(self.at_B, axis=0), self.arrived
        looked, *alarms = watch.look(
            self.rows, arrived.values_BD, presence_BD, arrived.codes_BC, threshold_B, self.numbers.watched
        )
        raised: list[Raised] = []
        for kind, watched, alarm in zip((Kind.SCHEMA, Kind.STUCK), looked, alarms, strict=True):
            if alarm or open_E[KINDS.index(kind)]:
                raised += self._watched(kind, watched)
        return raised

    def _watched(self, kind: Kind, watched: watch.Watched) -> list[Raised]:
        alarm, severity_B = watched.alarm, np.minimum(SEVERITY_AT_LIMIT * watched.ratio, 100.0)
        raised = []
        for one in self._turn(kind, alarm, watched.calm, np.zeros_like(alarm), severity_B, self.numbers.at_once):
            raised.append(self._tell(one, self._watched_cause(one, watched)))
            self._accept(one)
        return raised

    def _watched_cause(self, one: Turn, watched: watch.Watched) -> Cause:
        """Return the cause of a turn. When the episode is over, another field may now be the furthest towards its
        limit, so none is named."""
        if one.reason is episode.Reason.RECOVERED:
            return Cause("")
        return watch_cause(self.schema, watched, one.row, self.arrived.values_BD[one.row])

    def _accept(self, one: Turn) -> None:
        if one.reason is episode.Reason.ACCEPTED:
            acceptance.forget(self.rows, one.row, one.kind, self.rules)

    def _report(self, scored: Scored, threshold_B: Float64, found: Verdict) -> None:
        reported = Reported(
            found.status,
            scored.score_B,
            scored.sustained_B,
            threshold_B,
            found.severity,
            scored.standard_B2F,
            scored.of.expected,
            scored.of.lower,
            scored.of.upper,
            scored.evidence_BJ,
        )
        self.scores.note(self.at_B, reported)


def silence_of(rows: Rows, one: Turn) -> Cause:
    """Return the cause of a turn that a timer made. A silence counts from the stream's last event, or from a later one
    that a mute window skipped."""
    if one.kind is Kind.PATTERN:
        return Cause("", p_method=Method.BODY.name.lower())
    if one.kind is not Kind.SILENCE:
        return Cause("")
    until = one.end if one.end is not None else one.start
    last = max(float(rows[name][one.row]) for name in ("last_time", "sign_time"))
    return silence_cause((until - last) / 1e6, float(rows["gap_mean"][one.row]) / 1e6)
