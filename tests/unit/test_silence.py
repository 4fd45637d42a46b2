"""A broker that the loop waits for is reported by a thread that does not wait."""

from __future__ import annotations

import math
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from anomaly_daemon.daemon.idleness import SILENT_SECONDS, Idleness
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.patience import Patience
from anomaly_daemon.daemon.policy import Clocks, RetryPolicy
from anomaly_daemon.daemon.silence import Silence


class World:
    """A loop whose calls take as long as a test says. Meanwhile the other thread checks every second."""

    def __init__(self) -> None:
        self.now, self.made = 100.0, 0
        clocks = Clocks(monotonic=lambda: self.now, wall=lambda: self.now, wait=self.passes)
        self.log, self.metrics = CapturingLogger(), Metrics()
        log: Any = self.log
        self.patience, self.idleness = Patience(RetryPolicy(1000.0), clocks, log), Idleness()
        self.silence = Silence(self.idleness, self.patience, lambda: self.made, clocks.monotonic, self.metrics, log)

    def passes(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.silence.look()

    @property
    def told(self) -> list[tuple[str, Any]]:
        return [(call.method_name, call.args[0]) for call in self.log.calls]

    @property
    def silent(self) -> float:
        return self.metrics.value("broker_silent_seconds")


GONE = ("warning", "the broker does not answer: waiting for it")
BACK = ("info", "the broker answers again")


@pytest.fixture
def world() -> World:
    return World()


def test_a_call_that_does_not_end_is_told_once_and_so_is_its_end(world: World) -> None:
    def deliver() -> None:
        world.metrics.set("lag_records", 0.0)
        world.passes(SILENT_SECONDS)
        assert (world.told, world.silent, world.metrics.value("lag_records")) == ([], 0, 0)
        world.passes(50.0)
        assert (world.told, world.silent) == ([GONE], SILENT_SECONDS + 50.0)
        assert math.isnan(world.metrics.value("lag_records")), "nobody has heard of it since"

    world.patience.call("deliver", deliver)
    world.passes(5.0)
    assert (world.told, world.silent) == ([GONE, BACK], 0)
    assert world.log.calls[1].kwargs == {"silent_seconds": SILENT_SECONDS + 50.0}


def test_a_commit_whose_records_are_still_being_made_waits_for_nobody(world: World) -> None:
    def deliver() -> None:
        for _ in range(10):
            world.made += 1
            world.passes(SILENT_SECONDS - 1.0)

    world.patience.call("deliver", deliver)
    assert (world.told, world.silent) == ([], 0)


def test_a_call_within_another_does_not_make_that_one_young(world: World) -> None:
    def poll() -> None:
        world.passes(SILENT_SECONDS - 1.0)
        world.patience.call("deliver", lambda: None)
        world.passes(2.0)

    world.patience.call("poll", poll)
    assert world.told == [GONE]


def test_between_calls_nothing_is_owed(world: World) -> None:
    world.patience.call("poll", lambda: None)
    world.passes(10 * SILENT_SECONDS)
    assert (world.told, world.silent) == ([], 0)


def test_ends_that_are_owed_are_told_too(world: World) -> None:
    world.idleness.owed = SILENT_SECONDS + 1.0
    world.silence.look()
    world.idleness.owed = 0.0
    world.silence.look()
    world.silence.look()
    assert world.told == [GONE, BACK]
