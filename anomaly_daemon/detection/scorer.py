"""One event of each of B streams: through the network, to errors, evidence and a p-value.

Everything an event is measured by (normaliser, error scales, calibration) is the stream's own past; what it teaches is
taken in after it was scored. Shapes: B rows, D numeric and C categorical features, F = D + C, J kinds of evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection import calibration, errors, signals
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.moments import KNOWN_AFTER
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import Normalizer, Statistics
from anomaly_daemon.detection.observation import Float64, Int64, Schema, Transform
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.recurrence import Moment, Recurrence
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.signals import NETWORK_SIGNALS, ODDS, Seen, Signal, Weighed
from anomaly_daemon.detection.state import Column, Rows

KEPT = ("reached", "offset", "excess", "extremal", "since", "count")
"""What a row keeps of `calibration.Known`."""

INTERVAL = 2.5758
"""Standard deviations either side of what was expected: the 99% interval of a normal law."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of it. NaN where nothing is known."""

    standard_B2F: Float64
    """Standardised errors of both heads; the prediction head's are signed."""
    expected_BD: Float64
    lower_BD: Float64
    upper_BD: Float64
    held_BD: Float64
    """What the leading evidence holds each feature against, and the 99% interval around it: the network's expectation, the
    long-term level, or what is usual at this time of day."""
    held_lower_BD: Float64
    held_upper_BD: Float64
    deviation_BD: Float64
    """Distance from it, in the feature's own standard deviations."""
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
        d, f, kinds = self.numeric, len(self.schema.names), len(Signal)
        carried, statistics = self.recurrence.columns()
        carried_signals, kept_signals = signals.columns(d, f)
        statistics += [Column(f"norm_{name}", (d,)) for name in ("low", "high", "count")]
        statistics += kept_signals
        statistics += [Column(f"cal_{name}", (kinds,)) for name in KEPT[1:-1]]
        statistics += [Column("cal_count"), *self.categories.columns()]
        return [*carried, *carried_signals, Column("cal_reached", (kinds, calibration.BINS))], statistics

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
        window_BRD = self.recurrence.window(rows)
        raw_B2F[:, 1, : self.numeric] = errors.reconstruction_errors(window_BRD, passed.rebuilt_BRD, self.sides)
        scale_BD = np.exp(log_scale_BD) * self._error_scale(rows)
        seen = Seen(moment.time_B, x_BD, raw_B2F, moment.pace_B)
        weighed = signals.weigh(rows, seen, self.rules, self.sides, self.schema.timezone)
        self._silence(rows, weighed.evidence_BJ)
        p_B, method_B, leading_B = self._calibrate(rows, weighed.evidence_BJ, moment.pace_B)
        self._learn_values(rows, known, x_BD, moment.pace_B)
        reach_BD = INTERVAL * scale_BD
        expected_BD, lower_BD, upper_BD = (
            self._own_units(known, location_BD + side * reach_BD) for side in (0.0, -1.0, 1.0)
        )
        against_BD = np.abs(np.sinh(seen_BD) - np.sinh(location_BD))
        held, deviation_BD = self._held(rows, weighed, leading_B, (expected_BD, lower_BD, upper_BD), against_BD)
        return Scored(
            standard_B2F=weighed.standard_B2F,
            expected_BD=expected_BD,
            lower_BD=lower_BD,
            upper_BD=upper_BD,
            held_BD=held[0],
            held_lower_BD=held[1],
            held_upper_BD=held[2],
            deviation_BD=deviation_BD,
            evidence_BJ=weighed.evidence_BJ,
            p_B=p_B,
            method_B=method_B,
            leading_B=leading_B,
            parts_B2F=np.take_along_axis(weighed.parts_BJ2F, leading_B[:, None, None, None], axis=1)[:, 0],
        )

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

    def _held(
        self, rows: Rows, weighed: Weighed, leading_B: Int64, network: Sequence[Float64], against_BD: Float64
    ) -> tuple[list[Float64], Float64]:
        """What the leading evidence is held against, with its interval; and the distance from it."""
        residual, leading_B1 = weighed.residual, leading_B[:, None]
        seasonal = leading_B1 == Signal.SEASON
        lasting = (leading_B1 == Signal.LEVEL) | (leading_B1 == Signal.DRIFT)
        usual_BD = np.where(seasonal, residual.usual, weighed.level.mean)
        scale_BD = np.where(seasonal, residual.scale, weighed.level_scale_BD)
        held = [
            np.where(seasonal | lasting, self._untransformed(usual_BD + side * INTERVAL * scale_BD), network_BD)
            for side, network_BD in zip((0.0, -1.0, 1.0), network, strict=True)
        ]
        shifted_BD = np.select(
            [leading_B1 == Signal.LEVEL, leading_B1 == Signal.DRIFT, seasonal],
            [
                rows["slow_level"],
                rows["slow_drift"],
                rows["slow_season"] * residual.scale / weighed.level_scale_BD,
            ],
            against_BD,
        )
        return held, np.abs(shifted_BD)

    def _transformed(self, values_BD: Float64) -> Float64:
        if not self.log_D.any():
            return values_BD
        return np.where(self.log_D, np.sign(values_BD) * np.log1p(np.abs(values_BD)), values_BD)

    def _own_units(self, known: Statistics, y_BD: Float64) -> Float64:
        x_BD = self.normalizer.denormalise(known, np.clip(y_BD, -30.0, 30.0))
        return np.where(known.count > 0, self._untransformed(x_BD), np.nan)

    def _untransformed(self, x_BD: Float64) -> Float64:
        if not self.log_D.any():
            return x_BD
        return np.where(self.log_D, np.sign(x_BD) * np.expm1(np.minimum(np.abs(x_BD), 700.0)), x_BD)

    def _calibrate(self, rows: Rows, evidence_BJ: Float64, pace_B: Float64) -> tuple[Float64, Float64, Int64]:
        known = self._known(rows)
        level_BJ = calibration.level(known)
        p_BJ, method_BJ = calibration.p_values(self.shared, known, level_BJ, evidence_BJ)
        leading_B = np.argmin(np.where(np.isnan(p_BJ), np.inf, p_BJ / ODDS), axis=1)
        after = calibration.update(known, level_BJ, evidence_BJ, self.rules.adaptation_events, pace_B)
        for name in KEPT:
            rows[f"cal_{name}"] = getattr(after, name)
        return calibration.harmonic(p_BJ, ODDS), method_BJ[np.arange(len(rows)), leading_B], leading_B

    def _known(self, rows: Rows) -> calibration.Known:
        known = calibration.Known(
            rows.carried("cal_reached").copy(), *(rows[f"cal_{name}"].copy() for name in KEPT[1:])
        )
        fresh_B = known.count == 0
        if fresh_B.any():
            start = calibration.Known.initial(int(fresh_B.sum()), self.shared)
            for name in KEPT:
                getattr(known, name)[fresh_B] = getattr(start, name)
        return known

    def _learn_values(self, rows: Rows, known: Statistics, x_BD: Float64, pace_B: Float64) -> None:
        after = self.normalizer.update(known, np.where(pace_B[:, None] > 0, x_BD, np.nan))
        rows["norm_low"], rows["norm_high"], rows["norm_count"] = after.low, after.high, after.count
