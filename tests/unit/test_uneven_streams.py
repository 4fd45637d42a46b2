"""One long stream among many short ones: memory follows the events, not streams times the longest of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hostile import peak
from training_samples import SCHEMA, SMALL, WORDS, series

from anomaly_daemon.detection import calibration
from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.calibration import Calibration
from anomaly_daemon.detection.network import Layout, Network
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.scorer import Scorer
from anomaly_daemon.detection.signals import NAMES
from anomaly_daemon.training.calibrate import evidence_of
from anomaly_daemon.training.calibration_fit import fit
from anomaly_daemon.training.rows import network_rows

STREAMS = [series("long", 20_000), *(series(f"s{place}", 10) for place in range(250))]
EVENTS = sum(map(len, STREAMS))
AN_EVENT = 1_500
"""Bytes an event of all streams. Padded to the longest stream, a single array of numbers would take 1,785."""


class Silent(Scorer):
    """A scorer that finds no evidence in any event."""

    def score(self, rows: Any, moment: Any) -> Any:
        return SimpleNamespace(evidence_BJ=np.full((len(rows), self.kinds), np.nan))


def test_of_a_networks_input() -> None:
    made = list[object]()
    taken = peak(lambda: made.extend(network_rows(STREAMS, SCHEMA, WORDS, Normalizer(), Layout.JOINT)))
    assert len(made) == len(STREAMS)
    assert taken < AN_EVENT * EVENTS


def test_of_the_evidence_that_a_calibration_is_fitted_to() -> None:
    manifest, network = Manifest("m", "1", SMALL, schema=SCHEMA, vocabulary=WORDS), Network(SMALL)
    silent = Silent(Model(manifest, network, calibration.assumed(len(NAMES), NAMES)), SCHEMA, Rules())
    made = list[object]()
    taken = peak(lambda: made.extend(evidence_of(silent, STREAMS)))
    assert len(made) == len(STREAMS)
    assert taken < AN_EVENT * EVENTS


def test_of_the_fit() -> None:
    random = np.random.default_rng(0)
    evidence, made = [random.exponential(size=(len(one), 1)) for one in STREAMS], list[Calibration]()
    taken = peak(lambda: made.append(fit(evidence, 2000.0, 5)))
    assert made[0].samples == EVENTS - 5 * len(STREAMS)
    assert taken < AN_EVENT * EVENTS
