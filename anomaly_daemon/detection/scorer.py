"""One event of each of B streams: through the network, to errors, evidence and a p-value.

Everything an event is measured by (normaliser, error scales, calibration) is the stream's own past; what it teaches is
taken in after it was scored. Shapes: B rows, D numeric and C categorical features, F = D + C, J kinds of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection import calibration, errors, signals
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.calibration import Judged
from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.combination import Combined, harmonic
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.expectation import Held, Predicted, Unit, hold
from anomaly_daemon.detection.moments import KNOWN_AFTER
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import Normalizer, Statistics
from anomaly_daemon.detection.observation import Float64, Int64, Schema, Transform
from anomaly_daemon.detection.passage import Moment, Passed
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.recurrence import Recurrence
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.signals import NETWORK_SIGNALS, ODDS, Seen, Signal
from anomaly_daemon.detection.state import Column, Rows


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of it. NaN where nothing is known."""

    standard_B2F: Float64
    """Standardised errors of both heads; the prediction head's are signed."""
    of: Held
    """What was expected of each feature."""
    evidence_BJ: Float64
    p_B: Float64
    method_B: Float64
    leading_B: Int64
    """Which kind of evidence gave the p-value."""
    parts_B2F: Float64
    """What the leading evidence is made of, by head and feature; its sum is the score to the fourth."""
    score_B: Float64
    """In standardised errors: about 1 on an ordinary event."""


class Scorer:
    """A model bound to a schema and rules. Holds no stream's state: that is in the rows it is given."""

    def __init__(
        self,
        model: Model,
        schema: Schema,
        rules: Rules,
        placement: Placement = Placement(),  # noqa: B008 - frozen
    ) -> None:
        self.digest, self.network, self.shared = model.digest, model.network.eval(), model.calibration
        self._tails = calibration.Shared.of(self.shared)
        if self.shared.kinds != len(Signal):
            raise ValueError(f"the calibration has {self.shared.kinds} kinds of evidence, not {len(Signal)}")
        self.rules, self.schema = rules, schema
        self.ignored = [one for one in Signal if one.name.lower() not in rules.evidence]
        self.normalizer = Normalizer(model.manifest.normalizer, rules.adaptation_events)
        self.channel = self.network.config.layout is Layout.CHANNEL
        self.categories = Categories(
            schema.categorical, model.manifest.vocabulary, self.channel, rules.adaptation_events
        )
        self.log_D = np.array([feature.transform is Transform.LOG for feature in schema.numeric], bool)
        self.numeric, self.sides = len(schema.numeric), Sides.of(schema.numeric)
        self.recurrence = Recurrence(self.network, self.categories, schema.timezone, self.numeric, placement)

    def columns(self) -> tuple[list[Column], list[Column]]:
        """What a row must hold for this scorer: (carried, statistics)."""
        d, f = self.numeric, len(self.schema.names)
        carried, statistics = self.recurrence.columns()
        carried_signals, kept_signals = signals.columns(d, f)
        statistics += [Column(f"norm_{name}", (d,)) for name in ("low", "high", "count")]
        carried_calibration, kept_calibration = calibration.columns(len(Signal))
        statistics += [*kept_signals, *kept_calibration, *self.categories.columns()]
        return [*carried, *carried_signals, *carried_calibration], statistics

    def score(self, rows: Rows, moment: Moment) -> Scored:
        """Score the event and move the rows on past it."""
        x_BD = self._transformed(moment.values_BD)
        known = Statistics(rows["norm_low"], rows["norm_high"], rows["norm_count"])
        measured, known_BD = self.normalizer.measure(known, x_BD), known.count > 0
        passed = self.recurrence.step(rows, moment, measured.y, measured.mask)
        seen_BD = np.where(measured.mask > 0, measured.y, np.nan).astype(np.float64)
        scale_BD = np.exp(passed.log_scale_BD) * self._error_scale(rows)
        raw_B2F = self._raw(rows, moment, passed, seen_BD)
        seen = Seen(moment.time_B, x_BD, raw_B2F, moment.pace_B)
        weighed = signals.weigh(rows, seen, self.rules, self.sides, self.schema.timezone)
        self._silence(rows, weighed.evidence_BJ)
        judged, combined = self._judge(rows, weighed.evidence_BJ, moment.pace_B)
        unit = Unit(measured.center, measured.scale, known_BD, self.log_D)
        self.normalizer.learn(known, x_BD, moment.pace_B)
        place_B, leading_B = np.arange(len(rows)), combined.leading
        parts_B2F = weighed.parts_BJ2F[place_B, leading_B]
        return Scored(
            standard_B2F=weighed.standard_B2F,
            of=hold(rows, weighed, leading_B, Predicted(seen_BD, passed.location_BD, scale_BD), unit),
            evidence_BJ=weighed.evidence_BJ,
            p_B=combined.p,
            method_B=judged.method[place_B, leading_B],
            leading_B=leading_B,
            parts_B2F=parts_B2F,
            score_B=parts_B2F.reshape(len(rows), -1).sum(axis=1) ** 0.25,
        )

    def _raw(self, rows: Rows, moment: Moment, passed: Passed, seen_BD: Float64) -> Float64:
        """Errors of both heads, [B, 2, F]."""
        raw_B2F = np.full((len(rows), 2, len(self.schema.names)), np.nan)
        raw_B2F[:, 0, : self.numeric] = errors.prediction_errors(seen_BD, passed.location_BD, passed.log_scale_BD)
        logits = passed.logits(self.network.config.classes)
        raw_B2F[:, 0, self.numeric :] = self.categories.score(rows, moment.codes_BC, logits, moment.pace_B)
        window_BRD = self.recurrence.window(rows)
        raw_B2F[:, 1, : self.numeric] = errors.reconstruction_errors(window_BRD, passed.rebuilt_BRD, self.sides)
        return raw_B2F

    def _error_scale(self, rows: Rows) -> Float64:
        """Of the prediction head, [B, D]; while it is not known the network's own word counts, not certainty."""
        known_BD = rows["error_count"][:, 0, : self.numeric] >= KNOWN_AFTER
        return np.where(known_BD, np.sqrt(rows["error_variance"][:, 0, : self.numeric]), 1.0)

    def _silence(self, rows: Rows, evidence_BJ: Float64) -> None:
        """The kinds that do not count; and of a known stream whose network is new, until the scales of its errors are
        known, what is made of them."""
        evidence_BJ[:, self.ignored] = np.nan
        known_B = rows["error_count"].reshape(len(rows), -1).max(axis=1) >= self.rules.grace_events
        new_B = ~known_B & (rows["cal_count"] >= self.rules.grace_events)
        if new_B.any():
            evidence_BJ[np.ix_(new_B, NETWORK_SIGNALS)] = np.nan

    def _transformed(self, values_BD: Float64) -> Float64:
        if not self.log_D.any():
            return values_BD
        return np.where(self.log_D, np.sign(values_BD) * np.log1p(np.abs(values_BD)), values_BD)

    def _judge(self, rows: Rows, evidence_BJ: Float64, pace_B: Float64) -> tuple[Judged, Combined]:
        fresh_B = rows["cal_count"] == 0
        if fresh_B.any():
            calibration.begin(rows, self.shared, fresh_B)
        judged = calibration.judge(rows, self._tails, evidence_BJ, self.rules.adaptation_events, pace_B)
        return judged, harmonic(judged.p, ODDS)
