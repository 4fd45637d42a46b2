"""One event of each of B streams: through the network, to errors, evidence and a p-value.

Everything an event is measured by (normaliser, error scales, calibration) is the stream's own past; what it teaches is
taken in after it was scored. Shapes: B rows, D numeric and C categorical features, F = D + C, J kinds of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection import calibration, errors
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import Normalizer, Statistics
from anomaly_daemon.detection.observation import Float64, Int64, Schema, Transform
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.recurrence import Moment, Recurrence
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.state import Column, Rows

EVIDENCE = ("point", "window", "level")
"""This event's error; the errors' moving average (a change of shape); the moving average of the values themselves, against
the stream's own long-term statistics (a lasting shift or a slow drift, which a good predictor follows without an error)."""

LEVEL = EVIDENCE.index("level")

INTERVAL = 2.5758
"""Standard deviations either side of what was expected: the 99% interval of a normal law."""

PRIOR_ERRORS = 20.0
"""The initial error scales weigh as much as this many events."""

ERROR_SCALE_FLOOR = 1e-3
ERROR_WINSOR = 9.0
"""A squared standardised error teaches the error scale as if it were at most this."""

SLOW_WINSOR = 36.0
"""And enters the moving averages as at most this: one spike is not a drift."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of it. NaN where nothing is known."""

    standard_B2F: Float64
    """Standardised errors of both heads; the prediction head's are signed."""
    expected_BD: Float64
    lower_BD: Float64
    upper_BD: Float64
    usual_BD: Float64
    """The long-term location of each feature, and its 99% interval: what a level is held against."""
    usual_lower_BD: Float64
    usual_upper_BD: Float64
    deviation_BD: Float64
    """Distance from what the leading evidence is held against, in the feature's own standard deviations."""
    evidence_BJ: Float64
    p_B: Float64
    method_B: Float64
    leading_B: Int64
    """Which kind of evidence gave the p-value."""
    parts_B2F: Float64
    """What the leading evidence is made of, by head and feature; its sum is the score to the fourth."""

    @property
    def score_B(self) -> Float64:
        """In standardised errors: about 1 on an ordinary event."""
        return np.asarray(errors.sums(self.parts_B2F, 1) ** 0.25)


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
        if self.shared.kinds != len(EVIDENCE):
            raise ValueError(f"the calibration has {self.shared.kinds} kinds of evidence, not {len(EVIDENCE)}")
        self.rules, self.schema = rules, schema
        self.normalizer = Normalizer(model.manifest.normalizer, rules.adaptation_events)
        self.channel = self.network.config.layout is Layout.CHANNEL
        self.categories = Categories(
            schema.categorical, model.manifest.vocabulary, self.channel, rules.adaptation_events
        )
        self.log_D = np.array([feature.transform is Transform.LOG for feature in schema.numeric], bool)
        self.numeric = len(schema.numeric)
        self.recurrence = Recurrence(self.network, self.categories, schema.timezone, self.numeric, placement)

    def columns(self) -> tuple[list[Column], list[Column]]:
        """What a row must hold for this scorer: (carried, statistics)."""
        d, f, kinds = self.numeric, len(self.schema.names), len(EVIDENCE)
        carried, statistics = self.recurrence.columns()
        statistics += [Column(f"norm_{name}", (d,)) for name in ("low", "high", "count")]
        statistics += [Column("error_square", (2, f), 1.0), Column("error_count")]
        statistics += [Column("slow_terms", (2, f)), Column("slow_level", (d,))]
        statistics += [Column(f"cal_{name}", (kinds,)) for name in ("location", "spread", "level", "excess")]
        statistics += [Column("cal_count"), *self.categories.columns()]
        return carried, statistics

    def score(self, rows: Rows, moment: Moment) -> Scored:
        """Score the event and move the rows on past it."""
        x_BD = self._transformed(moment.values_BD)
        known = Statistics(rows["norm_low"].copy(), rows["norm_high"].copy(), rows["norm_count"].copy())
        y_BD, mask_BD = self.normalizer.normalise(known, x_BD)
        passed = self.recurrence.step(rows, moment, y_BD, mask_BD)
        location_BD, log_scale_BD = passed.location_BD, passed.log_scale_BD
        seen_BD = np.where(mask_BD > 0, y_BD, np.nan).astype(np.float64)
        raw_B2F = np.full((len(rows), 2, len(self.schema.names)), np.nan, order="F")
        raw_B2F[:, 0, : self.numeric] = errors.prediction_errors(seen_BD, location_BD, log_scale_BD)
        raw_B2F[:, 0, self.numeric :] = self.categories.score(rows, moment.codes_BC, passed.logits, moment.pace_B)
        raw_B2F[:, 1, : self.numeric] = errors.reconstruction_errors(self.recurrence.window(rows), passed.rebuilt_BRD)
        square_B2F = rows["error_square"].copy()
        standard_B2F = errors.standardise(raw_B2F, square_B2F)
        self._learn_errors(rows, raw_B2F, moment.pace_B)
        evidence_BJ, parts_BJ2F = self._evidence(rows, standard_B2F, seen_BD)
        p_B, method_B, leading_B = self._calibrate(rows, evidence_BJ, moment.pace_B)
        reach_BD = INTERVAL * np.exp(log_scale_BD) * np.sqrt(square_B2F[:, 0, : self.numeric])
        self._learn_values(rows, known, x_BD, moment.pace_B)
        zero_BD, far = np.zeros_like(location_BD), np.arcsinh(INTERVAL)
        against_BD = np.sinh(seen_BD) - np.sinh(location_BD)
        return Scored(
            standard_B2F=standard_B2F,
            expected_BD=self._own_units(known, location_BD),
            lower_BD=self._own_units(known, location_BD - reach_BD),
            upper_BD=self._own_units(known, location_BD + reach_BD),
            usual_BD=self._own_units(known, zero_BD),
            usual_lower_BD=self._own_units(known, zero_BD - far),
            usual_upper_BD=self._own_units(known, zero_BD + far),
            deviation_BD=np.abs(np.where(leading_B[:, None] == LEVEL, np.sinh(rows["slow_level"]), against_BD)),
            evidence_BJ=evidence_BJ,
            p_B=p_B,
            method_B=method_B,
            leading_B=leading_B,
            parts_B2F=np.take_along_axis(parts_BJ2F, leading_B[:, None, None, None], axis=1)[:, 0],
        )

    def _transformed(self, values_BD: Float64) -> Float64:
        if not self.log_D.any():
            return values_BD
        return np.where(self.log_D, np.sign(values_BD) * np.log1p(np.abs(values_BD)), values_BD)

    def _own_units(self, known: Statistics, y_BD: Float64) -> Float64:
        x_BD = self.normalizer.denormalise(known, np.clip(y_BD, -30.0, 30.0))
        if self.log_D.any():
            x_BD = np.where(self.log_D, np.sign(x_BD) * np.expm1(np.minimum(np.abs(x_BD), 700.0)), x_BD)
        return np.where(known.count > 0, x_BD, np.nan)

    def _evidence(self, rows: Rows, standard_B2F: Float64, seen_BD: Float64) -> tuple[Float64, Float64]:
        """Evidence [B, J] on a log scale, and the parts [B, J, 2, F] it is the sum of.

        The parts are squared before they are summed: an error in one feature of many counts for more than the same
        amount spread thinly over all of them.
        """
        point_B2F = errors.terms(standard_B2F, self.rules.prediction_weight)
        rate = 2.0 / (self.rules.window_events + 1.0)
        slow_B2F, level_BD = rows["slow_terms"], rows["slow_level"]
        slow_B2F += rate * errors.or_zero(np.minimum(point_B2F, SLOW_WINSOR) - slow_B2F)
        level_BD += rate * errors.or_zero(seen_BD - level_BD)
        shift_B2F = np.zeros_like(slow_B2F)  # a category has no level
        shift_B2F[:, 0, : self.numeric] = level_BD**2 * ((2.0 - rate) / rate) / max(self.numeric, 1)
        parts_BJ2F = np.stack([point_B2F, slow_B2F, shift_B2F], axis=1) ** 2 * slow_B2F.shape[2]
        unknown_B = np.isnan(point_B2F[:, 0, 0])
        parts_BJ2F[unknown_B] = np.nan
        return np.log1p(np.sqrt(errors.sums(parts_BJ2F, 2))), parts_BJ2F

    def _calibrate(self, rows: Rows, evidence_BJ: Float64, pace_B: Float64) -> tuple[Float64, Float64, Int64]:
        known = self._known(rows)
        p_BJ, method_BJ = calibration.p_values(self.shared, known, evidence_BJ)
        leading_B = np.argmin(np.where(np.isnan(p_BJ), np.inf, p_BJ), axis=1)
        place = np.arange(len(rows))
        p_B = np.minimum(p_BJ[place, leading_B] * len(EVIDENCE), 1.0)  # Bonferroni: the least of J
        after = calibration.update(self.shared, known, evidence_BJ, self.rules.adaptation_events, pace_B)
        for name in ("location", "spread", "level", "excess", "count"):
            rows[f"cal_{name}"] = getattr(after, name)
        return p_B, method_BJ[place, leading_B], leading_B

    def _known(self, rows: Rows) -> calibration.Known:
        start = calibration.Known.initial(len(rows), self.shared)
        count_B = rows["cal_count"].copy()
        fresh_B1 = (count_B == 0)[:, None]
        kept = {
            name: np.where(fresh_B1, getattr(start, name), rows[f"cal_{name}"])
            for name in ("location", "spread", "level", "excess")
        }
        return calibration.Known(**kept, count=count_B)

    def _learn_errors(self, rows: Rows, raw_B2F: Float64, pace_B: Float64) -> None:
        square_B2F, count_B = rows["error_square"], rows["error_count"]
        rate_B = np.maximum(1.0 / (PRIOR_ERRORS + count_B), 1.0 / self.rules.adaptation_events) * pace_B
        told_B2F = np.minimum(raw_B2F**2, ERROR_WINSOR * square_B2F)
        square_B2F += rate_B[:, None, None] * errors.or_zero(told_B2F - square_B2F)
        np.maximum(square_B2F, ERROR_SCALE_FLOOR, out=square_B2F)
        count_B += ~np.isnan(raw_B2F).all(axis=(1, 2))

    def _learn_values(self, rows: Rows, known: Statistics, x_BD: Float64, pace_B: Float64) -> None:
        after = self.normalizer.update(known, np.where(pace_B[:, None] > 0, x_BD, np.nan))
        rows["norm_low"], rows["norm_high"], rows["norm_count"] = after.low, after.high, after.count
