"""The shared calibration, from the evidence that the production scorer gives on held-out events.

The scorer here is the one that runs, so the score that was calibrated is the score that will be judged.

Shapes: B streams at one step, T events of one, D numeric features, J kinds of evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anomaly_daemon.detection import calibration
from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.calibration import Calibration
from anomaly_daemon.detection.network import Network
from anomaly_daemon.detection.observation import Float64, Schema
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.scorer import Scorer
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.state import Rows, StateLayout
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.training.calibration_fit import fit
from anomaly_daemon.training.dataset import Series
from anomaly_daemon.training.rows import gaps
from anomaly_daemon.training.under_way import CALIBRATION, Tell, quiet

TOGETHER = 512
"""Streams scored together."""

MOST = 4096
"""Streams calibrated on: a tail needs many events rather than every stream, and memory is bounded."""


def calibrate(
    network: Network,
    manifest: Manifest,
    schema: Schema,
    rules: Rules,
    series: Sequence[Series],
    since: int,
    tell: Tell = quiet,
) -> Calibration:
    """Fit to the evidence of every event since `since` (epoch microseconds). Each stream runs into it from as many
    events before as its statistics remember. Raises ConfigurationError when there are too few."""
    model = Model(manifest, network, calibration.assumed(len(Signal)))
    lead = int(rules.adaptation_events)
    recent = [one.window(max(one.start_of(since) - lead, 0)) for one in series]
    heard = evenly([one for one in recent if len(one) and one.time_T[-1] >= since], MOST)
    evidence: list[Float64] = []
    scored, whole = 0, sum(map(len, heard))

    def count(events: int) -> None:
        nonlocal scored
        scored += events
        tell(CALIBRATION, scored / whole, f"{len(heard)} streams")

    for place in range(0, len(heard), TOGETHER):
        evidence += evidence_of(Scorer(model, schema, rules), heard[place : place + TOGETHER], count)
    first = [one.start_of(since) for one in heard]
    try:
        if not heard:
            raise ValueError("no stream has any event there")
        return fit(evidence, rules.adaptation_events, rules.grace_events, first, rules.shared_events)
    except ValueError as error:
        raise ConfigurationError(
            f"too little held out to calibrate with: {error}; give more input, raise training.validation_share, or, where "
            "streams are too sparse to come so far, lower detection.grace_events"
        ) from error


def evenly(series: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of them, evenly spaced."""
    return list(series[:: -(-len(series) // most)]) if series else []


def evidence_of(
    scorer: Scorer, series: Sequence[Series], count: Callable[[int], None] = lambda events: None
) -> list[Float64]:
    """The raw evidence of every event, [T, J] a stream, each stream from its first event on; `count` is told of some."""
    order = sorted(range(len(series)), key=lambda place: -len(series[place]))
    ranked = [series[place] for place in order]
    layout = StateLayout(*scorer.columns())
    carried = np.tile(layout.carried_blank, (len(ranked), 1))
    statistics = np.tile(layout.statistics_blank, (len(ranked), 1))
    gap_BT, typical_BT = gaps(ranked)
    out = [np.full((len(one), scorer.kinds), np.nan) for one in ranked]
    lengths = np.array([len(one) for one in ranked])
    for t in range(lengths[0]):
        live = int((lengths > t).sum())
        moment = Moment(
            np.array([one.time_T[t] for one in ranked[:live]]),
            gap_BT[:live, t] if t else np.full(live, np.nan),
            typical_BT[:live, t],
            np.stack([one.values_TD[t] for one in ranked[:live]]),
            np.stack([one.categories_TC[t] for one in ranked[:live]]),
            np.ones(live),
        )
        scored = scorer.score(Rows(layout, carried[:live], statistics[:live]), moment)
        for place in range(live):
            out[place][t] = scored.evidence_BJ[place]
        count(live)
    return [u_TJ for _, u_TJ in sorted(zip(order, out, strict=True), key=lambda pair: pair[0])]
