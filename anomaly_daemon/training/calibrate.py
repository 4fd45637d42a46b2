"""Fit the shared calibration to the evidence that the production scorer gives for held-out events.

The scorer used here is the one that runs in the daemon, so the calibrated score is the score that will be judged.

Shapes: B streams at one step, T events of one stream, C categorical fields, D numeric features, J kinds of evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import calibration, interruption, normalizer, rate
from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.calibration import Calibration
from anomaly_daemon.detection.network import Layout, Network, NetworkConfig
from anomaly_daemon.detection.observation import MISSING_CATEGORY, Float64, Schema
from anomaly_daemon.detection.passage import Moment
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.scorer import Scorer
from anomaly_daemon.detection.signals import NAMES, kinds
from anomaly_daemon.detection.state import Rows, StateLayout
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.training.calibration_fit import fit, refuse_too_few
from anomaly_daemon.training.dataset import Series
from anomaly_daemon.training.rows import gaps
from anomaly_daemon.training.under_way import CALIBRATION, Tell, quiet

TOGETHER = 512
"""Number of streams scored together."""

MOST = 4096
"""The largest number of streams used for calibration. A tail needs many events rather than every stream, and memory
stays bounded."""


def calibrate(
    network: Network,
    manifest: Manifest,
    schema: Schema,
    rules: Rules,
    series: Sequence[Series],
    since: int,
    tell: Tell = quiet,
) -> Calibration:
    """Fit a calibration to the evidence of every event since `since` (epoch microseconds). Scoring starts
    `rules.adaptation_events` events earlier in each stream, as many as its statistics remember. Raises
    ConfigurationError where there are too few events."""
    model, usable = Model(manifest, network, calibration.assumed(len(NAMES), NAMES)), _heard(series, rules, since)
    evidence: list[Float64] = []
    scored, whole = 0, sum(map(len, usable))

    def count(events: int) -> None:
        nonlocal scored
        scored += events
        tell(CALIBRATION, scored / whole, f"{len(usable)} streams")

    for place in range(0, len(usable), TOGETHER):
        evidence += evidence_of(Scorer(model, schema, rules), usable[place : place + TOGETHER], count)
    first = [one.start_of(since) for one in usable]
    with _too_little():
        _any(usable)
        found = fit(evidence, rules.adaptation_events, rules.grace_events, first, rules.shared_events)
    return replace(found, names=NAMES[: kinds(len(schema.numeric))])


def refuse_too_little(
    config: NetworkConfig, schema: Schema, rules: Rules, series: Sequence[Series], since: int
) -> None:
    """Raise, before the training, the error that `calibrate` would raise after it for these events. This is possible
    because whether an event is scored does not depend on the weights."""
    usable, events = _heard(series, rules, since), 0
    for one in usable:
        rated_TD = rate.of_series(schema.numeric, one.time_T, one.values_TD)
        there_T = with_evidence(config, replace(one, values_TD=rated_TD))
        counts_T = there_T & (np.cumsum(there_T) > rules.grace_events)
        events += int(counts_T[one.start_of(since) :].sum())
    with _too_little():
        _any(usable)
        refuse_too_few(events, rules.grace_events)


def with_evidence(config: NetworkConfig, one: Series) -> npt.NDArray[np.bool_]:
    """Return for which events a network of this shape finds evidence, [T]. These are the events where a value can be
    normalised because enough earlier values are known, or where such a value is among the last events that are
    reconstructed. An event with a category counts, too, but in the channel layout not the first one of each field. The
    values of counters must be rates already."""
    there_TD, coded_TC = ~np.isnan(one.values_TD), one.categories_TC != MISSING_CATEGORY
    known_T = (there_TD & (np.cumsum(there_TD, axis=0) > normalizer.KNOWN_AFTER)).any(axis=1)
    counted_TC = coded_TC & (np.cumsum(coded_TC, axis=0) > (config.layout is Layout.CHANNEL))
    recent_T = np.convolve(known_T, np.ones(config.reconstruct))[: len(one)] > 0.5
    return np.asarray(recent_T | counted_TC.any(axis=1))


def _heard(series: Sequence[Series], rules: Rules, since: int) -> list[Series]:
    """Return the streams that calibration uses ("heard" ones), at most `MOST`. Each begins as many events before
    `since` as its statistics remember. Streams without an event from `since` on are excluded."""
    lead = int(rules.adaptation_events)
    recent = [one.window(max(one.start_of(since) - lead, 0)) for one in series]
    return evenly([one for one in recent if len(one) and one.time_T[-1] >= since], MOST)


def _any(usable: Sequence[Series]) -> None:
    if not usable:
        raise ValueError("no stream has an event in that part")


@contextmanager
def _too_little() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigurationError(
            f"too few held-out events to calibrate with: {error}; give more input, raise "
            "training.validation_share, or, where streams have too few events for that, lower "
            "detection.grace_events"
        ) from error


def evenly(series: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` of the series, evenly spaced."""
    return list(series[:: -(-len(series) // most)]) if series else []


def evidence_of(
    scorer: Scorer, series: Sequence[Series], count: Callable[[int], None] = lambda events: None
) -> list[Float64]:
    """Return the raw evidence of every event, one [T, J] array a stream, in the order of `series`. Each stream is
    scored from its first event on. `count` is called after each step with the number of events scored in it."""
    order = sorted(range(len(series)), key=lambda place: -len(series[place]))
    ranked = [series[place] for place in order]
    layout = StateLayout(*scorer.columns())
    carried = np.tile(layout.carried_blank, (len(ranked), 1))
    statistics = np.tile(layout.statistics_blank, (len(ranked), 1))
    apart = [np.concatenate(gaps([one])) for one in ranked]  # [2, T] each: the gap, and the mean of the earlier gaps
    values_BTD = [rate.of_series(scorer.schema.numeric, one.time_T, one.values_TD) for one in ranked]
    out = [np.full((len(one), scorer.kinds), np.nan) for one in ranked]
    lengths = np.array([len(one) for one in ranked])
    for t in range(lengths[0]):
        live = int((lengths > t).sum())
        gap_B, typical_B = np.stack([apart_2T[:, t] for apart_2T in apart[:live]], axis=1)
        gap_B = gap_B if t else np.full(live, np.nan)
        moment = Moment(
            np.array([one.time_T[t] for one in ranked[:live]]),
            gap_B,
            typical_B,
            np.stack([values_TD[t] for values_TD in values_BTD[:live]]),
            np.stack([one.categories_TC[t] for one in ranked[:live]]),
            np.ones(live),
            interruption.long(gap_B, typical_B),
        )
        scored = scorer.score(Rows(layout, carried[:live], statistics[:live]), moment)
        for place in range(live):
            out[place][t] = scored.evidence_BJ[place]
        count(live)
    return [u_TJ for _, u_TJ in sorted(zip(order, out, strict=True), key=lambda pair: pair[0])]
