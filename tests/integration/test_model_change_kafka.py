"""Another model after a crash, on Apache Kafka: records that were already decided are replayed with the old model."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from daemon_process import Deployment, readings, wait_for

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.checkpoint.ledger import find_ledger, find_models
from anomaly_daemon.checkpoint.models import read_model, write_model
from anomaly_daemon.settings import PRETRAINED
from anomaly_daemon.transport.kafka.snapshots import KafkaSnapshots
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored
from anomaly_daemon.transport.ports import Partition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

LINES = readings(["press", "oven"], 150, [60, 100, 125])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The shipped network with every weight changed by 5%, which gives other scores and another digest."""
    shipped = read_model(PRETRAINED)
    with torch.no_grad():
        for weight in shipped.network.parameters():
            weight.mul_(1.05)
    other = replace(shipped, manifest=replace(shipped.manifest, version="other"))
    write_model(other, tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture
def one(deployment: Callable[..., Deployment]) -> Deployment:
    return deployment(1, "snapshot.seconds=3600")


def stored(one: Deployment) -> dict[bytes, bytes]:
    with closing(KafkaSnapshots(one.settings.kafka, one.settings.snapshot)) as store:
        return dict(store.load(Partition(one.topic, 0)))


def expected(one: Deployment, model: Path, since: int) -> list[tuple[str, str]]:
    """Return the alerts of two clean runs over the memory transport, the second of them with the other model from
    `since` on."""
    broker = MemoryBroker()
    (partition,) = broker.create(one.topic)
    for part, path in ((LINES[:since], PRETRAINED), (LINES[since:], str(model))):
        broker.produce(partition, [Stored(-1, None, line) for line in part])
        source = MemorySource(broker, one.topic)
        settings = one.settings.model_copy(update={"model": one.settings.model.model_copy(update={"path": path})})
        build_worker(
            settings, source=source, delivery=MemoryDelivery(broker, source), snapshots=MemorySnapshots(broker)
        ).run()
    return sorted(_named(json.loads(record.value or b"")) for record in broker.records("anomaly-alerts"))


def _named(alert: dict[str, Any]) -> tuple[str, str]:
    return alert["alert_id"], f"{alert['event']} {alert['model']['version']} {alert['score']}"


def told(one: Deployment) -> list[tuple[str, str]]:
    return sorted(_named(json.loads(value)) for value in one._committed(f"{one.topic}-alerts"))


def test_another_model_after_a_kill_takes_the_streams_over_with_their_open_episodes(
    one: Deployment, model: Path
) -> None:
    one.produce(LINES[:205])  # ends in the middle of the second jump, while episodes are open
    first = one.start()
    wait_for("the first part to be committed", lambda: one.committed() == 205)
    first.end(signal.SIGKILL)  # only the ledger was ever stored: all records have to be replayed
    second = one.start(f"model.path={model}")
    wait_for("the other model to have taken over", lambda: second.logged("partition taken over"))
    taken = second.logged("partition taken over")
    assert taken is not None
    assert (taken["state"], taken["position"], taken["live_from"]) == ("changed", 0, 205)
    wait_for("it to be ready", second.ready)
    second.end(signal.SIGKILL)  # before it stored a bucket: the old model is still needed
    shipped, other = read_model(PRETRAINED).digest, read_model(model).digest
    assert set(find_models(stored(one))) == {shipped, other}
    third = one.start(f"model.path={model}")
    one.produce(LINES[205:])
    wait_for("all to be committed", lambda: one.committed() == len(LINES))
    assert told(one) == expected(one, model, 205)
    assert third.end(signal.SIGTERM) == 0
    fourth = one.start(f"model.path={model}")
    one.produce([LINES[-1]])
    wait_for("one more to be committed", lambda: one.committed() == len(LINES) + 1)
    assert fourth.end(signal.SIGTERM) == 0
    ledger = find_ledger(stored(one))
    assert ledger is not None
    assert [(regime.since, regime.model) for regime in ledger.regimes] == [(205, other)]
    assert set(find_models(stored(one))) == {other}
