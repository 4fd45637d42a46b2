"""Joins that go on between two polls, on the client's own event loop; no broker is involved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from anomaly_daemon.transport.kafka.rebalancing import keep_fetching


@pytest.fixture
def coordinator() -> Iterator[Any]:
    """The coordinator of a consumer whose joins are answered as soon as `answer` is set."""
    loop = NetworkSelector()
    manager = KafkaConnectionManager(loop, bootstrap_servers="localhost:9")
    answered = threading.Event()

    async def join() -> bytes:
        while not answered.is_set():
            await loop.sleep(0.001)
        return b"assignment"

    one = SimpleNamespace(_manager=manager, _join_task=None, _do_join_and_sync_async=join, poll=None, answer=answered)
    keep_fetching(SimpleNamespace(_coordinator=one))
    loop.start()
    yield one
    manager.close()
    loop.stop()
    loop.close()


def joining(coordinator: Any) -> Any:
    coordinator._join_task = coordinator._manager.call_soon(coordinator._do_join_and_sync_async)
    return coordinator._join_task


def looked(coordinator: Any, join: Any, timeout_ms: float) -> Any:
    return coordinator._manager.run(coordinator._manager.wait_for, join, timeout_ms)


def turn(coordinator: Any) -> None:
    """Run everything that is ready to run."""
    for _ in range(3):
        coordinator._manager.run(coordinator._manager._net.sleep, 0.002)


@pytest.mark.parametrize("_time", range(30))
def test_the_shortest_look_finds_an_answer_that_came_between_two_polls(coordinator: Any, _time: int) -> None:
    coordinator.answer.set()
    join = joining(coordinator)
    turn(coordinator)
    assert not join.is_done, "nobody waited for it"

    assert looked(coordinator, join, 0) == b"assignment"


def test_a_look_at_a_join_that_is_not_answered_ends_and_another_finds_the_answer(coordinator: Any) -> None:
    join = joining(coordinator)
    with pytest.raises(KafkaTimeoutError):
        looked(coordinator, join, 0)

    coordinator.answer.set()
    assert looked(coordinator, join, 10_000) == b"assignment"


def test_the_next_join_is_held_too(coordinator: Any) -> None:
    coordinator.answer.set()
    for _ in range(2):
        join = joining(coordinator)
        turn(coordinator)
        assert not join.is_done
        assert looked(coordinator, join, 0) == b"assignment"
