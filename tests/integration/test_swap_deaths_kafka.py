"""A daemon killed at each step of adopting a new model, on Apache Kafka, while events flow: every alert is published
once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from daemon_process import PATIENCE_SECONDS, Deployment, wait_for
from mortal_daemon import CHALLENGED, CHANGED, begin, nursery
from test_live_swap_kafka import AT, LINES, MOVED, expected
from test_live_swap_kafka import registry as registry  # fixtures
from test_model_change_kafka import model as model
from test_model_change_kafka import told

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.settings import PRETRAINED

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

A_FEW = 10


class Lives:
    """Runs daemons one after the other under one instance id, and produces records as long as each of them lives."""

    def __init__(self, one: Deployment, closing: ExitStack) -> None:
        self.one, self.sent, self.logs = one, 0, list[Path]()
        self._context, self._closing = nursery(), closing

    def begin(self, death: str | None) -> ForkServerProcess:
        self.logs.append(self.one.folder / f"life-{len(self.logs)}.jsonl")
        words = [f"--set={word}" for word in self.one.overrides]
        life = begin(self._context, words, death, self.logs[-1])
        self._closing.callback(lambda: life.exitcode is None and os.kill(life.pid or 0, signal.SIGKILL))
        return life

    def flow(self, over: Callable[[], Any]) -> None:
        def happened() -> Any:
            self.one.produce(LINES[self.sent : self.sent + A_FEW])
            self.sent += A_FEW
            return over()

        wait_for("what is to happen meanwhile", happened)

    def logged(self, event: str, life: int = -1) -> dict[str, Any] | None:
        text = self.logs[life].read_text() if self.logs[life].exists() else ""
        lines = (json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}"))
        return next((line for line in lines if line["event"] == event), None)

    def in_force(self) -> int:
        """Return the offset from which the model decides with which this run has taken over. If that run restored its
        state, the previous run has logged the offset."""
        taken = self.logged("partition taken over") or {}
        return int((self.logged(MOVED, -2) or {})["since"] if taken["state"] == "restored" else taken["live_from"])


@pytest.fixture
def lives(deployment: Callable[..., Deployment], registry: Registry) -> Iterator[Lives]:
    follow = (f"model.path={registry.url}@champion", "model.watch_seconds=0.1", "model.shadow=true")
    with ExitStack() as closing:
        yield Lives(deployment(1, "snapshot.seconds=2", "kafka.group_instance_id=one", *follow), closing)


def test_killed_at_each_step_of_a_models_way_every_alert_is_told_once_by_the_model_in_force(
    lives: Lives, registry: Registry, model: Path
) -> None:
    second = registry.publish(read_model(model))
    parts, current = [(0, PRETRAINED)], 1
    moves: list[tuple[str, Callable[[], object]]] = [
        (CHALLENGED[0], lambda: registry.move("challenger", second, **AT)),
        (CHALLENGED[1], lambda: None),
    ]
    for place in CHANGED:
        moves.append((place, lambda: registry.move("champion", second, **AT)))
        moves.append((place, lambda: registry.rollback("champion", **AT)))
    for place, move in moves:
        doomed = lives.begin(place)
        lives.flow(lambda: lives.logged("partition taken over"))
        if current != len(registry.history("champion")):
            current = len(registry.history("champion"))
            parts.append((lives.in_force(), str(model) if registry.resolve("champion") == second else PRETRAINED))
        at = lives.sent
        lives.flow(lambda at=at, life=doomed: life.exitcode is not None or lives.one.committed() >= at)
        move()
        lives.flow(lambda life=doomed: life.exitcode is not None)
        assert doomed.exitcode == -signal.SIGKILL, place
    last = lives.begin(None)
    lives.flow(lambda: lives.logged("partition taken over"))
    parts.append((lives.in_force(), PRETRAINED))
    wait_for("all to be committed", lambda: lives.one.committed() == lives.sent)
    os.kill(last.pid or 0, signal.SIGTERM)
    last.join(PATIENCE_SECONDS)
    assert last.exitcode == 0
    found = told(lives.one)
    assert found == expected(lives.one, parts, lives.sent)
    assert {text.split()[1] for _, text in found} == {"other", read_model(PRETRAINED).ref.version}
