"""What counts as a partition's silence: no time in which a record could not have been read."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from crashing import BUCKETS, ENDLESS, TOPIC, ZERO, Clock, Life, alerts, filled, life, states, turned

from anomaly_daemon.daemon.idleness import SILENT_SECONDS
from anomaly_daemon.daemon.policy import CommitPolicy, RetryPolicy, SnapshotPolicy
from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.memory import MemoryBroker, Stored
from anomaly_daemon.transport.ports import Commit

POLICIES = replace(ENDLESS, idle_timers=True, commit=CommitPolicy(0.5, 10**6), retry=RetryPolicy(1e6))
LIMIT = 1000.0
"""Seconds without a record that are a silence to the test detector `RunningSum`."""


class World:
    """A worker that has read one record, and a broker that can be away for a while. While it is away, no log end offset
    is reported."""

    def __init__(self) -> None:
        self.broker, self.clock = MemoryBroker(), Clock(step=0.0)
        self.broker.create(TOPIC)
        self.broker.produce(ZERO, [Stored(1_000_000, b"a", b"1")])
        self.one: Life = life(self.broker, policies=POLICIES, clock=self.clock, finite=False)
        self.away, inner = False, self.one.source.lag
        self.one.source.lag = lambda: {} if self.away else inner()  # type: ignore[method-assign]
        turned(self.one, 2)

    def passes(self, seconds: float, turns: int = 10) -> None:
        for _ in range(turns):
            self.clock.now += seconds / turns
            self.one.worker.turn()

    def gone(self, seconds: float, turns: int = 10) -> None:
        self.away = True
        self.passes(seconds, turns)
        self.away = False

    def holds_up_a_commit(self, seconds: float) -> None:
        """Make the next commit take so many seconds. It contains a new record, which is the last."""
        delivery: Any = self.one.worker._ports.delivery
        inner = delivery.deliver

        def deliver(commit: Commit) -> None:
            delivery.deliver = inner
            self.clock.now += seconds
            inner(commit)

        delivery.deliver = deliver
        self.broker.produce(ZERO, [Stored(2_000_000, b"a", b"1")])
        self.passes(1.0, 1)


@pytest.fixture
def world() -> World:
    return World()


SILENT = ["readings-0-0-a-silence/open"]


def test_time_in_which_the_broker_was_away_is_no_silence(world: World) -> None:
    world.gone(9 * LIMIT)
    world.passes(0.9 * LIMIT)
    assert alerts(world.broker) == []
    world.passes(0.2 * LIMIT)
    assert alerts(world.broker) == SILENT


def test_time_before_and_after_an_outage_counts(world: World) -> None:
    world.passes(0.6 * LIMIT)
    world.gone(9 * LIMIT)
    world.passes(0.6 * LIMIT)
    assert alerts(world.broker) == SILENT


def test_what_was_heard_last_is_the_most_that_counts(world: World) -> None:
    """The broker may have gone away right after the last report of the end."""
    world.passes(0.99 * LIMIT)
    world.gone(0.2 * LIMIT, 1)
    assert alerts(world.broker) == []


def test_a_commit_that_waits_for_the_broker_is_no_silence(world: World) -> None:
    world.holds_up_a_commit(9 * LIMIT)
    world.passes(0.9 * LIMIT)
    assert alerts(world.broker) == []
    world.passes(0.2 * LIMIT)
    assert alerts(world.broker) == ["readings-0-1-a-silence/open"]


def test_a_poll_that_is_tried_again_is_no_silence(world: World) -> None:
    inner, raising = world.one.source.poll, [Unavailable("away")]

    def poll(timeout: float) -> object:
        if not raising:
            return inner(timeout)
        world.clock.now += 9 * LIMIT
        raise raising.pop()

    world.one.source.poll = poll  # type: ignore[assignment,method-assign]
    world.passes(0.5 * LIMIT)
    assert alerts(world.broker) == []
    world.passes(0.7 * LIMIT)
    assert alerts(world.broker) == SILENT


def test_an_end_that_is_heard_every_second_time_is_as_good(world: World) -> None:
    """A broker reports the end every half second, and a loop may turn more often."""
    for turn in range(1100):
        world.away = bool(turn % 2)
        world.passes(1.0, 1)
    assert alerts(world.broker) == SILENT


def test_what_lies_between_commits_that_wait_counts(world: World) -> None:
    """Otherwise a deployment whose commits are slow would never report a silence."""
    for _ in range(12):
        world.one.worker._idleness.waited(LIMIT)
        world.passes(1.1 * LIMIT, 1)
    assert alerts(world.broker) == SILENT


def test_a_loop_that_computes_for_long_counts_its_silence(world: World) -> None:
    world.passes(1.1 * LIMIT, 2)
    assert alerts(world.broker) == SILENT


def test_the_figure_of_an_end_that_is_not_heard_stays(world: World) -> None:
    world.one.source.pause([ZERO])
    world.broker.produce(ZERO, [Stored(2_000_000, b"a", b"1")] * 7)
    world.passes(2.0)
    world.broker.produce(ZERO, [Stored(2_000_000, b"a", b"1")] * 7)
    world.gone(2.0)
    assert world.one.worker.metrics.value("lag_records") == 7


def test_a_figure_is_none_once_the_broker_owes_it_for_long(world: World) -> None:
    value, silence = world.one.worker.metrics.value, world.one.worker.silence
    world.passes(2.0)
    assert value("lag_records") == 0
    world.gone(SILENT_SECONDS - 1.0)
    silence.look()
    assert (value("lag_records"), value("lag_seconds"), value("broker_silent_seconds")) == (0, 0, 0)
    world.gone(3.0)
    assert math.isnan(value("lag_records"))
    assert math.isnan(value("lag_seconds"))
    silence.look()
    assert value("broker_silent_seconds") == pytest.approx(SILENT_SECONDS + 2.0)
    world.passes(2.0)
    silence.look()
    assert (value("lag_records"), value("lag_seconds"), value("broker_silent_seconds")) == (0, 0, 0)


def test_records_that_wait_to_be_read_are_no_silence_of_the_broker(world: World) -> None:
    """Meanwhile the end of such a partition is not asked for."""
    world.one.source.owed = lambda: ()  # type: ignore[method-assign]
    world.gone(9 * SILENT_SECONDS)
    world.one.worker.silence.look()
    assert world.one.worker.metrics.value("lag_records") == 0
    assert world.one.worker.metrics.value("broker_silent_seconds") == 0


def test_time_between_two_polls_counts_only_where_the_first_left_a_question(world: World) -> None:
    owed = [[], [ZERO], [ZERO]]
    world.one.source.owed = lambda: owed.pop(0)  # type: ignore[assignment,method-assign]
    world.gone(2 * SILENT_SECONDS, 2)
    assert world.one.worker._idleness.owed == 0
    world.gone(5.0, 1)
    assert world.one.worker._idleness.owed == 5.0


def test_one_hearing_does_not_make_a_replay_end() -> None:
    """It may be the answer to a request that was made before the partition came back."""
    never = replace(ENDLESS, snapshot=SnapshotPolicy(1e9, BUCKETS))
    broker = filled([("a", 1), ("b", 150), ("a", 160), ("a", 5)])
    before = turned(life(broker, policies=never, finite=False, clock=Clock(step=0.3)), 12)
    told = alerts(broker)
    again = life(broker, policies=never, finite=False, clock=Clock(step=0.6))
    stale, ours = [{ZERO: 0}], again.worker._members.owned
    poll, lag = again.source.poll, again.source.lag
    again.source.poll = lambda timeout: [] if stale and ours else poll(timeout)  # type: ignore[method-assign]
    again.source.lag = lambda: stale.pop() if stale and ours else lag()  # type: ignore[method-assign]
    turned(again, 12)
    assert again.worker.progress.ready
    assert (alerts(broker), states(again)) == (told, states(before))
