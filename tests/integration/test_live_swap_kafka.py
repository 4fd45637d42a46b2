"""The champion changes, and changes back, while events flow: without a restart, and every alert is published once, by
the model in force."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon, Deployment, readings, wait_for
from test_model_change_kafka import model as model  # a fixture
from test_model_change_kafka import told

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.settings import PRETRAINED
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

LINES = readings(["press", "oven"], 3000, range(60, 3000, 45))
MOVED = "switched to another model"
AT: dict[str, str] = {"at": "2026-01-01T00:00:00+00:00", "reason": "a test"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry.at(str(tmp_path / "registry"))
    made.move("champion", made.publish(read_model(PRETRAINED)), **AT)
    return made


@pytest.fixture(params=["exactly_once", "at_least_once"])
def one(request: pytest.FixtureRequest, deployment: Callable[..., Deployment], registry: Registry) -> Deployment:
    follow = (f"model.path={registry.url}@champion", "model.watch_seconds=0.1", f"sink.delivery={request.param}")
    return deployment(1, "snapshot.seconds=2", *follow)


class Flow:
    """Produces records without a pause, a few at a time, until `stop` is called."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.sent, self._over = deployment, 0, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set() and self.sent < len(LINES):
            self.deployment.produce(LINES[self.sent : self.sent + 20])
            self.sent = min(self.sent + 20, len(LINES))

    def stop(self) -> int:
        self._over.set()
        self._thread.join(60)
        return self.sent


def moved(daemon: Daemon, times: int) -> int:
    """Return the offset at which the model changed for the n-th time, where n is `times`."""
    changes = wait_for(f"change {times}", lambda: changed(daemon) if len(changed(daemon)) >= times else None)
    return int(changes[times - 1]["since"])


def changed(daemon: Daemon) -> list[dict[str, Any]]:
    return [line for line in daemon.lines() if line["event"] == MOVED]


def expected(one: Deployment, parts: list[tuple[int, str]], end: int) -> list[tuple[str, str]]:
    """Return the alerts of clean runs over the memory transport, in which each part of the records is read with its own
    model."""
    broker = MemoryBroker()
    (partition,) = broker.create(one.topic)
    stops = [*(since for since, _ in parts[1:]), end]
    for (start, path), stop in zip(parts, stops, strict=True):
        broker.produce(partition, [Stored(-1, None, line) for line in LINES[start:stop]])
        source = MemorySource(broker, one.topic)
        settings = one.settings.model_copy(update={"model": one.settings.model.model_copy(update={"path": path})})
        delivery, store = MemoryDelivery(broker, source), MemorySnapshots(broker)
        build_worker(settings, source=source, delivery=delivery, snapshots=store).run()
    return sorted(
        (alert["alert_id"], f"{alert['event']} {alert['model']['version']} {alert['score']}")
        for alert in (json.loads(record.value or b"") for record in broker.records("anomaly-alerts"))
    )


def test_a_promotion_and_a_rollback_are_followed_while_events_flow(
    one: Deployment, registry: Registry, model: Path
) -> None:
    daemon, flow = one.start(), Flow(one)
    wait_for("events to be scored", lambda: one.committed() > 200)
    registry.move("champion", registry.publish(read_model(model)), **AT)
    first = moved(daemon, 1)
    wait_for("events by the next model", lambda: one.committed() > first + 200)
    registry.rollback("champion", **AT)
    second = moved(daemon, 2)
    wait_for("events by the model before", lambda: one.committed() > second + 200)
    end = flow.stop()
    wait_for("all to be committed", lambda: one.committed() == end)
    assert daemon.end(signal.SIGTERM) == 0
    assert 0 < first < second < end
    found = told(one)
    assert found == expected(one, [(0, PRETRAINED), (first, str(model)), (second, PRETRAINED)], end)
    assert {text.split()[1] for _, text in found} == {"other", read_model(PRETRAINED).ref.version}


@pytest.mark.parametrize("one", ["at_least_once"], indirect=True)  # exactly_once: test_swap_deaths_kafka.py
def test_a_member_killed_right_after_a_swap_is_replaced_by_one_that_tells_nothing_twice(
    one: Deployment, registry: Registry, model: Path
) -> None:
    daemon, flow = one.start(), Flow(one)
    wait_for("events to be scored", lambda: one.committed() > 200)
    registry.move("champion", registry.publish(read_model(model)), **AT)
    first = moved(daemon, 1)
    daemon.end(signal.SIGKILL)
    again = one.start()
    end = flow.stop()
    wait_for("all to be committed", lambda: one.committed() == end)
    assert again.end(signal.SIGTERM) == 0
    taken = again.logged("partition taken over")
    assert taken is not None
    since = first if taken["state"] == "restored" else taken["live_from"]  # otherwise the swap was never committed
    found = sorted(set(told(one)))
    assert found == expected(one, [(0, PRETRAINED), (since, str(model))], end)


def test_a_broken_candidate_is_refused_and_the_champion_goes_on(one: Deployment, registry: Registry) -> None:
    daemon, flow = one.start(), Flow(one)
    wait_for("events to be scored", lambda: one.committed() > 100)
    broken = Path(registry.url) / "aliases" / "champion" / "00000002.json"
    broken.write_text(json.dumps({"digest": _harmed(registry), "rollback": False, **AT}))  # written by other software
    refused = "a model was refused: the running model stays in use"
    reason = wait_for("the refusal", lambda: daemon.logged(refused))["reason"]
    assert "does not match the checksum" in reason
    before = one.committed()
    wait_for("the champion to go on", lambda: one.committed() > before)
    assert "anomaly_daemon_models_refused_total 1.0" in daemon.get("/metrics")[1]
    end = flow.stop()
    wait_for("all to be committed", lambda: one.committed() == end)
    assert daemon.end(signal.SIGTERM) == 0
    assert changed(daemon) == []
    assert told(one) == expected(one, [(0, PRETRAINED)], end)


def _harmed(registry: Registry) -> str:
    """Publish a version whose weights are cut short, and return its digest."""
    shipped = read_model(PRETRAINED)
    digest = registry.publish(replace(shipped, manifest=replace(shipped.manifest, version="harmed")))
    weights = Path(registry.url) / "models" / digest / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    return digest
