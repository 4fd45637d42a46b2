"""The whole chain on Apache Kafka while events flow: drift, trigger, training, shadow, promotion, swap and rollback.

A retraining worker is killed during its training. A daemon is killed while the challenger runs in the shadow, and again
right after the swap. Every alert must be published exactly once, by the model that was in force, and every request must
be answered.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_process import Daemon, Deployment, wait_for
from kafka import KafkaAdminClient
from test_feedback_kafka import metric

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.cli import main
from anomaly_daemon.errors import ExitCode, Incompatible
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.transport.kafka.connection import connect
from anomaly_daemon.transport.kafka.inspect import read_range
from anomaly_daemon.transport.kafka.topics import describe
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

STREAMS, BEFORE, AFTER, MORE = 8, 1000, 1300, 2500
MOVED, BESIDE = "switched to another model", "the challenger is scored beside the champion"


def waves() -> list[bytes]:
    """Return records in which every stream first swings slowly and then fast, at the same level and spread."""
    noise = np.random.default_rng(0)
    lines = []
    for at in range(BEFORE + AFTER + MORE):
        pace = 0.2 if at < BEFORE else 1.9
        for stream in range(STREAMS):
            value = 20 + np.sin(at * pace + stream) + 0.05 * noise.standard_normal()
            lines.append(line(stream, at, float(value)))
    return lines


def line(stream: int, at: int, value: float) -> bytes:
    return json.dumps({"id": f"s{stream}", "time": 1_700_000_000 + 60 * at, "temperature": value}).encode()


LINES = waves()
DRIFTED = STREAMS * (BEFORE + AFTER)


class Chain:
    """A deployment with a registry whose champion has learned the slow waves only, and with a worker for retraining
    requests."""

    def __init__(self, broker: Any, folder: Path) -> None:
        topic = broker.topic("readings")
        self.registry = Registry.at(str(folder / "registry"))
        self.log = folder / "worker.log"
        self.deployment = Deployment(
            broker.bootstrap,
            topic,
            folder,
            f"model.path={self.registry.url}@champion",
            "model.watch_seconds=600",  # moves of aliases are announced on a topic
            "model.shadow=true",
            "detection.budget.alarms_per_stream_per_day=2",
            "training.hidden=50",
            "training.window=32",
            "training.batch_size=32",
            "training.learning_rate=0.005",
            "training.epochs=15",
            "training.patience=15",
            "retraining.promote=by_hand",
            "retraining.drift_seconds=3600",
            "retraining.jitter_seconds=0",
            "retraining.minimum_seconds=0",
            f"retraining.requests_topic={topic}-requests",
            f"retraining.results_topic={topic}-results",
            f"retraining.announcements_topic={topic}-moves",
            f"retraining.group_id={topic}-retrain",
            f"retraining.checkpoints={folder}/checkpoints",
        )
        config = folder / "config.yaml"
        config.write_text("name: chain\n")
        self.words = ["-c", str(config), *(f"--set={override}" for override in self.deployment.overrides)]

    def champion(self, folder: Path) -> str:
        """Train a model on the records that the topic holds so far, publish it as champion and return its digest."""
        arguments = ["--from-topic", "--output", str(folder / "first"), "--device", "cpu"]
        assert main(["train", *self.words, *arguments]) == 0
        self.models("publish", str(folder / "first"), "--as", "champion")
        return self.registry.resolve("champion")

    def models(self, *words: str) -> None:
        assert main(["models", words[0], *self.words, *words[1:]]) == 0

    def results(self) -> list[dict[str, Any]]:
        """Return the results announced so far. The topic of results exists only after a worker has started."""
        retraining = self.deployment.settings.retraining
        try:
            batches = list(read_range(self.deployment.settings.kafka, retraining.results_topic, None, None))
        except Incompatible:
            return []
        return [json.loads(value or b"") for batch in batches for value in batch.values]

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        words = [sys.executable, "-m", "anomaly_daemon.cli", "retrain", *self.words, "--worker"]
        with self.log.open("ab") as log:
            one = subprocess.Popen([*words, "--device", "cpu"], stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            yield one
        finally:
            one.kill()
            one.wait()


class Flow:
    """Produces the records from a given place on, a few at a time without a pause, until `stop` is called."""

    def __init__(self, deployment: Deployment, sent: int) -> None:
        self.deployment, self.sent, self.lines, self._over = deployment, sent, list(LINES), threading.Event()
        self._disturbed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.1) and self.sent < len(LINES):
            if self._disturbed.is_set():
                self._disturbed.clear()
                for place in range(self.sent, self.sent + 16):
                    self.lines[place] = line(place % STREAMS, place // STREAMS, 60.0)
            self.deployment.produce(self.lines[self.sent : self.sent + 16])
            self.sent = min(self.sent + 16, len(LINES))

    def disturb(self) -> None:
        """Make the next records far too high."""
        self._disturbed.set()

    def stop(self) -> int:
        self._over.set()
        self._thread.join(60)
        return self.sent


@pytest.fixture
def chain(kafka_broker: Any, tmp_path: Path, daemons: list[Daemon]) -> Chain:
    return Chain(kafka_broker, tmp_path)


def logged(daemon: Daemon, event: str) -> Callable[[], Any]:
    return lambda: daemon.logged(event)


def in_force(daemon: Daemon, since: int) -> int:
    """Return the offset from which the champion decides in a daemon that took over after a swap at offset `since`."""
    taken = wait_for("the take-over", logged(daemon, "partition taken over"))
    return since if taken["state"] == "restored" else int(taken["live_from"])


def alerts(one: Deployment) -> list[tuple[str, ...]]:
    return sorted(map(told, one._committed(f"{one.topic}-alerts")))


def expected(one: Deployment, lines: list[bytes], parts: list[tuple[int, str]], end: int) -> list[tuple[str, ...]]:
    """Return the alerts of clean runs over the memory transport, in which each part of the records is read with its own
    model."""
    broker = MemoryBroker()
    (partition,) = broker.create(one.topic)
    stops = [*(since for since, _ in parts[1:]), end]
    for (start, path), stop in zip(parts, stops, strict=True):
        broker.produce(partition, [Stored(-1, None, value) for value in lines[start:stop]])
        source = MemorySource(broker, one.topic)
        settings = one.settings.model_copy(
            update={"model": one.settings.model.model_copy(update={"path": path, "watch_seconds": 0.0})}
        )
        delivery, store = MemoryDelivery(broker, source), MemorySnapshots(broker)
        build_worker(settings, source=source, delivery=delivery, snapshots=store).run()
    return sorted(map(told, (record.value or b"" for record in broker.records("anomaly-alerts"))))


def told(value: bytes) -> tuple[str, ...]:
    alert = json.loads(value)
    return alert["alert_id"], alert["event"], alert["model"]["digest"], str(alert["score"])


def test_from_drift_to_rollback_while_events_flow_and_processes_die(chain: Chain, tmp_path: Path) -> None:
    one, registry = chain.deployment, chain.registry
    one.produce(LINES[: STREAMS * BEFORE])
    first = chain.champion(tmp_path)
    daemon = one.start()
    one.produce(LINES[STREAMS * BEFORE : DRIFTED])
    wait_for("the drift to be read", lambda: one.committed() == DRIFTED)
    flow = Flow(one, DRIFTED)
    with chain.worker():  # this worker is killed during its training
        wait_for("an epoch", lambda: list(tmp_path.glob("checkpoints/*")))
    with chain.worker():
        answer = wait_for("the result", chain.results)[0]
    assert (answer["reason"], answer["outcome"]) == ("drift", "kept"), answer
    second = registry.resolve("challenger")
    assert registry.resolve("champion") == first != second == answer["challenger"]
    wait_for("the shadow", logged(daemon, BESIDE))
    daemon.end(signal.SIGKILL)
    daemon = one.start()
    wait_for("the shadow", logged(daemon, BESIDE))
    wait_for("its figures", lambda: metric(daemon, "shadow_seconds_total"))
    chain.models("promote", "challenger")
    swapped = int(wait_for("the swap", logged(daemon, MOVED))["since"])
    daemon.end(signal.SIGKILL)
    daemon = one.start()
    swapped = in_force(daemon, swapped)
    wait_for("events by the next model", lambda: one.committed() > swapped + 200)
    flow.disturb()
    wait_for("an alert by the next model", lambda: any(digest == second for _, _, digest, _ in alerts(one)))
    chain.models("rollback")
    back = int(wait_for("the way back", logged(daemon, MOVED))["since"])
    wait_for("events by the model before", lambda: one.committed() > back + 200)
    flow.disturb()
    wait_for("all that is disturbed", lambda: one.committed() > back + 400)
    end = flow.stop()
    wait_for("all to be committed", lambda: one.committed() == end)
    assert daemon.end(signal.SIGTERM) == ExitCode.OK
    found = alerts(one)
    parts = [(0, f"{registry.url}@{first}"), (swapped, f"{registry.url}@{second}"), (back, f"{registry.url}@{first}")]
    assert found == expected(one, flow.lines, parts, end)
    assert {digest for _, _, digest, _ in found} == {first, second}
    with closing(connect(one.settings.kafka, KafkaAdminClient)) as admin:
        moves = describe(admin, [f"{one.topic}-moves"])[f"{one.topic}-moves"]
    assert moves.config["cleanup.policy"] == "compact", "the daemon created it"
