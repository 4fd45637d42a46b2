"""What retraining is worth after a drift, and what it costs, from records to the change of model, without a broker.

    python benchmarks/retraining.py --streams 16

The streams oscillate slowly, and from one moment on fast, at the same level and spread. A fault is an interval in which
noise with the stream's own spread replaces the oscillation, so that only a network that predicts the oscillation can
find it. The network that was trained before the drift is compared, on the same last part, with the one that `retrain`
trains on the records since the drift. All seconds are CPU time.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from anomaly_daemon.bootstrap import deciding
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.rules import DAY_SECONDS, Rules
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.report.episodes import EpisodeBook
from anomaly_daemon.report.matching import Window, match
from anomaly_daemon.settings import Settings
from anomaly_daemon.training.build import build
from anomaly_daemon.training.retrain import retrain
from anomaly_daemon.transport.ports import Partition

MINUTE = 60_000_000
START = 1_700_000_000_000_000
TRAINING, BEFORE, SINCE, LATER = 1500, 1500, 1500, 1500
"""Events of each stream in the four parts: the first network's training, its measurement, the events known since the
drift, and the last part, on which the networks are compared."""
MEANWHILE = 448
"""Events of each stream, a whole number of batches, that another network decides about before it is rolled back."""
FAULT_EVENTS, FAULTS_EVERY = 12, 250
PACE, PACE_AFTER = 0.2, 1.9
TOGETHER = 64
"""Events of each stream in one batch."""


@dataclass(frozen=True)
class World:
    """The values of every stream [T, S], and the faults in them."""

    values_TS: np.ndarray
    faults: tuple[Window, ...]

    def batches(self, first: int, last: int) -> Iterator[Observations]:
        """Yield batches of the events [first, last) of every stream, in order of time."""
        streams = self.values_TS.shape[1]
        for start in range(first, last, TOGETHER):
            at_T = np.arange(start, min(start + TOGETHER, last))
            count = len(at_T) * streams
            time_N = np.repeat(START + at_T * MINUTE, streams)
            columns = (np.tile(np.arange(streams, dtype=np.int32), len(at_T)), np.arange(count) + start * streams)
            zeros = np.zeros(count, np.int32)
            values_ND = self.values_TS[at_T].reshape(-1, 1)
            known = (values_ND, np.zeros((count, 1), np.uint8), np.zeros((count, 0), np.int64), {})
            keys = tuple(f"s{stream}" for stream in range(streams))
            yield Observations("bench", 0, keys, *columns, zeros, time_N, time_N, *known)


def world(streams: int) -> World:
    random, events = np.random.default_rng(0), TRAINING + BEFORE + SINCE + LATER
    drift = TRAINING + BEFORE
    pace_T = np.where(np.arange(events) < drift, PACE, PACE_AFTER)
    phase_TS = np.cumsum(pace_T)[:, None] + np.arange(streams)[None, :]
    values_TS = 20 + np.sin(phase_TS) + 0.05 * random.standard_normal((events, streams))
    places = [
        *range(TRAINING + 150, drift - 150, FAULTS_EVERY),
        *range(events - LATER + 150, events - 150, FAULTS_EVERY),
    ]
    faults = []
    for stream in range(streams):
        for first in places:
            at = first + int(random.integers(100))
            values_TS[at : at + FAULT_EVENTS, stream] = 20 + random.uniform(-1, 1, FAULT_EVENTS)
            start = START + at * MINUTE
            faults.append(Window(f"s{stream}", start, start + (FAULT_EVENTS + 2) * MINUTE))
    return World(values_TS, tuple(faults))


def measured(detector: Detector, of: World, first: int, last: int) -> dict[str, Any]:
    """Return the faults found and the false alarms in the events [first, last), which the detector processes."""
    book, span = EpisodeBook(), (START + first * MINUTE, START + last * MINUTE)
    for batch in of.batches(first, last):
        for alert in detector.step(batch).alerts:
            if alert.kind == "pattern":
                book.add(alert)
    windows = [one for one in of.faults if span[0] <= one.start < span[1]]
    found = match(windows, [one for one in book.episodes if one.opened >= span[0]], aftermath=20 * MINUTE)
    days = (last - first) * of.values_TS.shape[1] * 60 / DAY_SECONDS
    alarms = round(len(found.false_alarms) / days, 3)
    return {"faults": len(windows), "found": found.found, "f1": round(found.f1 or 0.0, 3), "false_a_stream_day": alarms}


def configured(epochs: int) -> Settings:
    chosen = ("hidden=50", "window=64", f"epochs={epochs}", "patience=6", "learning_rate=0.003", "batch_size=32")
    words = ["source.kind=files", 'source.paths=["-"]', "sink.kind=files", 'stream.numeric=["level"]']
    words += ["model.path=pretrained", "name=bench", *(f"training.{one}" for one in chosen)]
    return load(None, words, {})


def seconds_of(detector: Detector, of: World, first: int, last: int) -> float:
    """Return the CPU-seconds that the detector takes for the events [first, last)."""
    batches = list(of.batches(first, last))
    began = time.process_time()
    for batch in batches:
        detector.step(batch)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=25)
    args = parser.parse_args()
    torch.set_num_threads(1)
    of = world(args.streams)
    drift, later = TRAINING + BEFORE, TRAINING + BEFORE + SINCE
    with tempfile.TemporaryDirectory() as name:
        settings, registry = configured(args.epochs), Registry.at(name)
        champion = build(settings, of.batches(0, TRAINING), name="bench")
        detector = detector_of(settings, champion)
        seconds_of(detector, of, 0, TRAINING)
        back = rolled_back(settings, champion, detector, of)
        told: dict[str, Any] = {"a_rollback": back, "before_the_drift": measured(detector, of, TRAINING, drift)}
        seconds_of(detector, of, drift, later)
        began = time.process_time()
        rules = Rules(alarms_per_day=settings.detection.budget.alarms_per_stream_per_day)
        found = retrain(settings, champion, of.batches(drift, later), {}, rules)
        trained = time.process_time()
        registry.publish(found.challenger)
        ready = deciding(settings, registry.read(found.challenger.digest))
        after = ready.detectors.ours(Partition("bench", 0))
        swapping = time.process_time()
        after.adopt(copy.deepcopy(detector))
        swapped = time.process_time()
    told["gate"] = {
        "promote": found.decision.promote,
        "loss": [round(found.before.loss, 3), round(found.after.loss, 3)],
    }
    told["after_without"] = measured(copy.deepcopy(detector), of, later, later + LATER)
    told["after_with"] = measured(copy.deepcopy(after), of, later, later + LATER)
    seasoned = detector_of(settings, found.challenger)
    seconds_of(seasoned, of, drift, later)
    told["had_it_run_since_the_drift"] = measured(seasoned, of, later, later + LATER)
    told["seconds"] = {
        "training_and_gate": round(trained - began, 2),
        "registry_and_trial": round(swapping - trained, 2),
        "swap": round(swapped - swapping, 4),
    }
    alone, beside = (seconds_of(one, of, later, later + LATER) for one in (detector, after))
    told["shadow"] = {"detection_seconds": round(alone, 2), "challenger_seconds": round(beside, 2)}
    print(json.dumps({"streams": args.streams, **told}, indent=1))


def rolled_back(settings: Settings, champion: Model, detector: Detector, of: World) -> dict[str, Any]:
    """Compare what the champion finds after another network has run in between with what it finds undisturbed."""
    other = replace(champion, manifest=replace(champion.manifest, version="other"))
    undisturbed, there = copy.deepcopy(detector), detector_of(settings, other)
    seconds_of(undisturbed, of, TRAINING, TRAINING + MEANWHILE)
    there.adopt(copy.deepcopy(detector))
    seconds_of(there, of, TRAINING, TRAINING + MEANWHILE)
    returned = detector_of(settings, champion)
    returned.adopt(there)
    span = (TRAINING + MEANWHILE, TRAINING + BEFORE)
    return {"undisturbed": measured(undisturbed, of, *span), "rolled_back": measured(returned, of, *span)}


def detector_of(settings: Settings, model: Model) -> Detector:
    return deciding(settings, model).detectors.ours(Partition("bench", 0))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
