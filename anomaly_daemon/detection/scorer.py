"""One event of each of B streams: from the network to errors, evidence and a p-value.

Everything an event is measured by (normaliser, error scales, calibration) is the stream's own past. The event itself is
learned only after it is scored.

Shapes: B rows, D numeric and C categorical features, F = D + C, J kinds of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection import (
    beginning,
    calibration,
    combination,
    elementary,
    errors,
    floors,
    interruption,
    judging,
    normalizer,
    rate,
    season,
    signals,
)
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.calibration import Shared
from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.expectation import Compared, one_sided
from anomaly_daemon.detection.floors import Aside, Floors
from anomaly_daemon.detection.judging import Fixed, Judgement
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import Measured, Normalizer
from anomaly_daemon.detection.observation import Float64, Int64, Schema, Transform
from anomaly_daemon.detection.passage import Moment, Passed
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.recurrence import Recurrence
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.signals import NAMES, ODDS, Signal
from anomaly_daemon.detection.state import Column, Rows
from anomaly_daemon.detection.weighed import Seen
from anomaly_daemon.detection.weights import Weights


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one event of each row. NaN where nothing is known."""

    standard_B2F: Float64
    """Standardised errors of both heads; the prediction head's are signed."""
    of: Compared
    """What was expected of each feature."""
    evidence_BJ: Float64
    p_B: Float64
    """The p-value of this event alone, without evidence that is set aside: it decides alarms."""
    sustained_B: Float64
    """The p-value that is reported with the score, of all evidence. While the stream is surprising, it is no larger
    than recent events are on average."""
    method_B: Float64
    leading_B: Int64
    """The kind of evidence that led to the p-value."""
    parts_B2F: Float64
    """The parts of the leading evidence, by head and feature; their sum is the score to the fourth power."""
    score_B: Float64
    """The score, in standardised errors: about 1 on an ordinary event."""
    faster_B: Float64
    """How many times faster than usual the stream's events come, where that led to the p-value; NaN elsewhere."""
    typical_gap_B: Float64
    """The usual time between the stream's events, in microseconds."""
    aside: Aside | None = None
    """The evidence that is too small to matter; None where no field has a floor."""


class Scorer:
    """A model bound to a schema and rules. It holds no stream's state, which is in the rows it is given."""

    def __init__(
        self,
        model: Model,
        schema: Schema,
        rules: Rules,
        placement: Placement = Placement(),  # noqa: B008 - frozen
    ) -> None:
        self.digest, self.network = model.digest, model.network.eval()
        self.kinds, measured = signals.kinds(len(schema.numeric)), signals.named(model.calibration)
        self.shared = calibration.of_kinds(measured, NAMES[: self.kinds], like=NAMES[Signal.LEVEL])
        self.rules, self.schema = rules, schema
        self.normalizer = Normalizer(model.manifest.normalizer, rules.adaptation_events)
        self.channel = self.network.config.layout is Layout.CHANNEL
        self.categories = Categories(
            schema.categorical, model.manifest.vocabulary, self.channel, rules.adaptation_events
        )
        self.log_D = np.array([feature.transform is Transform.LOG for feature in schema.numeric], bool)
        self.numeric, self.counters = len(schema.numeric), rate.counters(schema.numeric)
        self.floors = Floors.of(schema.numeric)
        self._fixed = Fixed(
            weights=Weights.of(rules),
            sides=Sides.of(schema.numeric),
            tails=Shared.of(self.shared, rules.shared_events),
            odds_J=ODDS[: self.kinds],
            silent_J=np.array([name not in rules.evidence for name in NAMES[: self.kinds]]),
            log_D=self.log_D,
            normalizer=self.normalizer.code,
            adaptation=float(rules.adaptation_events),
            grace=float(rules.grace_events),
            stuck=rules.stuck.enabled,
        )
        self.recurrence = Recurrence(self.network, self.categories, schema.timezone, self.numeric, placement)

    def columns(self) -> tuple[list[Column], list[Column]]:
        """Return the columns that a row must have for this scorer: (carried, statistics)."""
        d, f = self.numeric, len(self.schema.names)
        carried, statistics = self.recurrence.columns()
        carried_signals, kept_signals = signals.columns(d, f)
        statistics += normalizer.columns(d)
        carried_calibration, kept_calibration = calibration.columns(self.kinds)
        statistics += [*kept_signals, *kept_calibration, *combination.columns(), *self.categories.columns()]
        return [*carried, *carried_signals, *carried_calibration], statistics

    def complete(self, rows: Rows) -> None:
        """Complete rows that another release stored: kinds of evidence that it lacked start as in a new stream."""
        for kind in range(self.kinds):
            blank_B = (rows["cal_count"] > 0) & (rows["cal_levels_reached"][:, kind, 0] == 0.0)
            if blank_B.any():
                calibration.begin(rows, self.shared, blank_B, [kind], self.rules.shared_events)
        beginning.complete(rows)

    def score(self, rows: Rows, moment: Moment) -> Scored:
        """Score the event and move the rows past it."""
        moment, x_BD = interruption.pass_over(rows, moment), self._transformed(moment.values_BD)
        measured = Measured.blank(x_BD.shape)
        normalizer.measure(rows.statistics_BQ, rows.layout.of(normalizer.at), self._fixed.normalizer, x_BD, measured)
        errors.curb(self._fixed.sides, measured.y)
        passed = self.recurrence.step(rows, moment, measured.y, measured.mask)
        window_BRD = rows.carried("window")[:, : passed.rebuilt_BRD.shape[1]]
        errors.expect_return(self._fixed.sides, window_BRD, passed.location_BD, passed.rebuilt_BRD)
        found = self._judge(rows, moment, x_BD, measured, passed)
        aside = self._set_aside(rows, moment, x_BD, found)
        one_sided(moment.values_BD, self.log_D, found.compared)
        return Scored(
            standard_B2F=found.weighed.standard_B2F,
            of=found.compared,
            evidence_BJ=found.weighed.evidence_BJ,
            p_B=found.combined.p if aside is None else aside.alarm_B,
            sustained_B=found.sustained_B,
            method_B=found.method_B,
            leading_B=found.combined.leading,
            parts_B2F=found.parts_B2F,
            score_B=found.score_B,
            faster_B=_faster(found),
            typical_gap_B=moment.typical_gap_B,
            aside=aside,
        )

    def _judge(self, rows: Rows, moment: Moment, x_BD: Float64, measured: Measured, passed: Passed) -> Judgement:
        fresh_B = rows["cal_count"] == 0
        if fresh_B.any():
            calibration.begin(rows, self.shared, fresh_B, events=self.rules.shared_events)
        raw_B2F = np.empty((len(rows), 2, len(self.schema.names)))
        if self.schema.categorical:
            logits = passed.logits(self.network.config.classes)
            raw_B2F[:, 0, self.numeric :] = self.categories.score(rows, moment.codes_BC, logits, moment.pace_B)
            raw_B2F[:, 1, self.numeric :] = np.nan
        found = Judgement.blank(len(rows), self.numeric, len(self.schema.names))
        judging.judge(
            rows.carried_BP,
            rows.statistics_BQ,
            rows.layout.of(judging.at),
            self._fixed,
            Seen(moment.time_B, x_BD, raw_B2F, moment.pace_B, moment.gap_B),
            season.visits(moment.time_B, self.schema.timezone),
            measured,
            passed,
            found,
        )
        if found.begun_B.any():  # evidence from before the reset is no measure of later evidence
            calibration.begin(rows, self.shared, found.begun_B, events=self.rules.shared_events)
        return found

    def _set_aside(self, rows: Rows, moment: Moment, x_BD: Float64, found: Judgement) -> Aside | None:
        if self.floors is None:
            return None
        aside, at = Aside.blank(len(x_BD), self.kinds, self.numeric), rows.layout.of(signals.at)
        floors.set_aside(rows.statistics_BQ, at, self.floors, self._fixed.odds_J, moment.values_BD, x_BD, found, aside)
        return aside

    def _transformed(self, values_BD: Float64) -> Float64:
        if not self.log_D.any():
            return values_BD
        return np.where(self.log_D, np.sign(values_BD) * np.log1p(np.abs(values_BD)), values_BD)


def _faster(found: Judgement) -> Float64:
    """Return how many times faster than usual events come, where burst leads. Computed with the project's own
    exponential, because alerts report the number with the same digits on every machine."""
    faster_B = np.where(found.combined.leading == Signal.BURST, found.weighed.evidence_BJ[:, Signal.BURST], np.nan)
    elementary.exponentials(faster_B, faster_B)
    return faster_B
