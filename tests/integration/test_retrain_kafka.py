"""Requests for retraining on Apache Kafka: each is handled by one worker, and by another one if that worker dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_process import wait_for
from kafka import KafkaProducer

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.transport.kafka.inspect import read_range
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

EVENTS, STREAMS, START = 900, 12, 1_700_000_000


@pytest.fixture
def config(kafka_broker: Any, tmp_path: Path) -> Path:
    """The configuration for a topic of waves and a registry whose champion has learned next to nothing."""
    topic, random = kafka_broker.topic("waves"), np.random.default_rng(0)
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)) as producer:
        for event in range(EVENTS):
            for stream in range(STREAMS):
                value = float(np.sin(event / 5 + stream) + 0.1 * random.standard_normal())
                record = json.dumps({"time": START + event, "a": value}).encode()
                producer.send(topic, record, f"s{stream}".encode(), timestamp_ms=(START + event) * 1000)
        producer.flush()
    kafka_broker.topic(f"{topic}-alerts")
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: waves
kafka:
  bootstrap_servers: "{kafka_broker.bootstrap}"
  session_timeout_seconds: 6
  transaction_timeout_seconds: 5
source: {{topic: {topic}}}
sink: {{alerts_topic: {kafka_broker.topic("alerts")}}}
stream: {{time: time, numeric: [a]}}
model: {{path: {tmp_path}/registry@champion}}
training: {{epochs: 1, window: 32, batch_size: 32, hidden: 50, learning_rate: 0.0001}}
retraining:
  requests_topic: {kafka_broker.topic("requests", 2)}
  results_topic: {topic}-results
  group_id: {topic}-retrain
  checkpoints: {tmp_path}/checkpoints
"""
    )
    assert main(["train", "-c", str(path), "--from-topic", "--output", str(tmp_path / "first"), "--device", "cpu"]) == 0
    registry = str(tmp_path / "registry")
    assert main(["models", "publish", str(tmp_path / "first"), "--registry", registry, "--as", "champion"]) == 0
    return path


@pytest.fixture
def workers(config: Path) -> Iterator[Any]:
    """Starts workers: workers(*overrides) is one more worker, as one process, or as several processes with a launcher."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*overrides: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        words = [sys.executable, *launcher, "-m", "anomaly_daemon.cli", "retrain", "-c", str(config), "--worker"]
        settings = ["--device", "cpu", *(f"--set={one}" for one in overrides)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (config.parent / f"worker-{len(started)}.log").open("wb") as log:
            one = subprocess.Popen([*words, *settings], stderr=log, env=environment, start_new_session=True)
        started.append(one)
        return one

    yield start
    for one in started:
        if one.poll() is None:
            killed(one)


def killed(worker: subprocess.Popen[bytes]) -> None:
    """Kill the worker and the processes that it has started; a launcher gives each of these a process group of its own."""
    started = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    for one in map(int, started):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def results(config: Path) -> list[dict[str, Any]]:
    """Return the results announced so far. The topic of results exists only after a worker has started."""
    settings = load(config, [])
    try:
        batches = list(read_range(settings.kafka, settings.retraining.results_topic, None, None))
    except Incompatible:
        return []
    return [json.loads(value or b"") for batch in batches for value in batch.values]


def ask(config: Path, capsys: pytest.CaptureFixture[str], reason: str) -> str:
    capsys.readouterr()
    assert main(["retrain", "-c", str(config), "--request", reason, "--json"]) == 0
    return str(json.loads(capsys.readouterr().out.splitlines()[-1])["id"])


LONG = ("training.epochs=40", "training.patience=40", "training.learning_rate=0.002")


def test_a_request_whose_worker_is_killed_goes_on_from_its_checkpoint_on_another(
    config: Path, workers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry.at(str(config.parent / "registry"))
    before, name = registry.resolve("champion"), ask(config, capsys, "drift")
    first = workers(*LONG)
    checkpoint = config.parent / "checkpoints" / f"{name}-{before[:12]}.checkpoint"
    wait_for("an epoch", checkpoint.exists)
    killed(first)
    second = workers(*LONG)
    (told,) = wait_for("the result", lambda: results(config))
    assert (told["id"], told["reason"], told["outcome"]) == (name, "drift", "promoted"), told
    assert registry.resolve("champion") == told["challenger"] != before
    assert registry.history("champion")[-1].reason.startswith(f"request {name} (drift): ")
    assert len(registry.read(told["challenger"]).manifest.training["curve"]) <= 40
    assert not checkpoint.exists()
    again = ask(config, capsys, "drift")  # asked by another member of the fleet, a moment later
    wait_for("its answer", lambda: len(results(config)) == 2)
    assert [(one["id"], one["outcome"]) for one in results(config)][1] == (again, "skipped")
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=60) == 0


def test_two_workers_take_each_request_once(config: Path, workers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    both = [workers("retraining.minimum_seconds=0") for _ in range(2)]
    names = [ask(config, capsys, "schedule") for _ in range(3)]
    wait_for("three results", lambda: len(results(config)) >= 3)
    assert sorted(one["id"] for one in results(config)) == sorted(names)
    for one in both:
        one.send_signal(signal.SIGTERM)
        assert one.wait(timeout=60) == 0


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_are_one_worker_and_answer_each_request_once(
    config: Path, workers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before, brief = Registry.at(str(config.parent / "registry")).resolve("champion"), ask_for_little(config, capsys)
    killed_in_an_epoch = workers(*LONG, "retraining.minimum_seconds=0", launcher=TWO)
    wait_for("what cannot be trained to be answered", lambda: results(config))
    name = ask(config, capsys, "drift")
    checkpoint = config.parent / "checkpoints" / f"{name}-{before[:12]}.checkpoint"
    wait_for("an epoch", checkpoint.exists)
    killed(killed_in_an_epoch)
    second = workers(*LONG, "retraining.minimum_seconds=0", launcher=TWO)
    wait_for("both answers", lambda: len(results(config)) == 2)
    told = {one["id"]: one["outcome"] for one in results(config)}
    assert told == {brief: "failed", name: "promoted"}
    second.send_signal(signal.SIGTERM)
    second.wait(timeout=60)


def ask_for_little(config: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A request for a range that is too short to train on."""
    capsys.readouterr()
    assert main(["retrain", "-c", str(config), "--request", "by hand", "--start", "0", "--end", "20", "--json"]) == 0
    return str(json.loads(capsys.readouterr().out.splitlines()[-1])["id"])
