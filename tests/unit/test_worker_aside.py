"""The loop over the memory transport, with take-overs on their own thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from crashing import (
    BUCKETS,
    ENDLESS,
    POLICIES,
    RECORDS,
    TOPIC,
    ZERO,
    Clock,
    Life,
    alerts,
    alerts_of,
    filled,
    life,
    turned,
)

from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.daemon.restoring import REPLAYS_AT_ONCE
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.memory import MemoryBroker, Stored
from anomaly_daemon.transport.ports import Partition

NEVER = replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS))
Load = Callable[[Partition], Mapping[bytes, bytes]]


def loading(one: Life, before: Callable[[Partition], object]) -> Life:
    """Call `before` before the snapshots of a partition are read."""
    inner: Load = one.worker._ports.snapshots.load  # type: ignore[union-attr]

    def load(partition: Partition) -> Mapping[bytes, bytes]:
        before(partition)
        return inner(partition)

    one.worker._ports.snapshots.load = load  # type: ignore[union-attr,method-assign]
    return one


def turn_until(one: Life, done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10.0
    while not done():
        assert time.monotonic() < deadline, "waited too long"
        one.worker.turn()


def test_a_partition_goes_on_while_the_snapshots_of_another_are_read() -> None:
    broker, go_on = filled(RECORDS, 2), threading.Event()
    first, second = Partition(TOPIC, 0), Partition(TOPIC, 1)
    one = life(broker, finite=False, policies=ENDLESS, aside=True)
    loading(one, lambda partition: partition == first or go_on.wait(10))
    one.worker.start()
    turn_until(one, lambda: first in broker.positions)
    broker.produce(first, [Stored(50, b"cc", b"1")])
    end = broker.end(first)
    turn_until(one, lambda: broker.positions[first] == end)
    assert second not in broker.positions
    assert (one.worker.progress.ready, one.worker.progress.running, one.worker.progress.restoring) == (False, 1, 1)
    assert math.isnan(one.worker.progress.seconds_left)
    go_on.set()
    turn_until(one, lambda: one.worker.progress.ready)
    turn_until(one, lambda: broker.positions.get(second) == broker.end(second))
    assert one.worker.progress.seconds_left == 0.0


def test_the_lag_is_not_known_while_a_partition_is_yet_to_be_restored() -> None:
    broker, go_on = filled(RECORDS, 2), threading.Event()
    one = loading(
        life(broker, finite=False, policies=ENDLESS, aside=True, clock=Clock(step=0.6)), lambda _: go_on.wait(10)
    )
    value = one.worker.metrics.value
    one.worker.start()
    for _ in range(4):
        one.worker.turn()
    assert one.worker.progress.restoring == 2
    assert math.isnan(value("lag_records"))
    assert math.isnan(value("lag_seconds"))
    go_on.set()
    turn_until(one, lambda: value("lag_records") == 0)
    assert one.worker.progress.ready


def test_what_a_take_over_fails_with_ends_the_loop() -> None:
    def refuse(partition: Partition) -> None:
        raise Incompatible("was written under other settings")

    one = loading(life(filled(), finite=False, policies=ENDLESS, aside=True), refuse)
    one.worker.start()
    with pytest.raises(Incompatible, match="was written under other settings"):
        turn_until(one, lambda: False)


def test_a_partition_that_left_while_its_snapshots_were_read_does_not_become_ours() -> None:
    reading, go_on = threading.Event(), threading.Event()

    def wait(partition: Partition) -> None:
        reading.set()
        go_on.wait(10)

    one = loading(life(filled(), finite=False, policies=ENDLESS, aside=True), wait)
    one.worker.start()
    turn_until(one, reading.is_set)
    one.source.lose([ZERO])
    one.worker.turn()
    go_on.set()
    turned_on = [one.worker.turn() for _ in range(5)]
    assert len(turned_on) == 5
    assert (one.worker.progress.running, one.worker.progress.restoring) == (0, 0)


def test_only_so_many_partitions_replay_at_once_and_all_of_them_go_live() -> None:
    partitions = REPLAYS_AT_ONCE + 3
    broker = MemoryBroker()
    names = broker.create(TOPIC, partitions)
    for name in names:
        broker.produce(name, [Stored(time, b"a", b"150") for time in range(6)])
    turned(life(broker, policies=NEVER, max_records=100), 3)
    assert len(broker.positions) == partitions
    again = life(broker, policies=ENDLESS, max_records=1, finite=False)
    again.worker.start()
    seen = []
    while not again.worker.progress.ready:
        again.worker.turn()
        seen.append(sum(not owned.live for owned in again.worker._members.owned.values()))
    assert max(seen) == REPLAYS_AT_ONCE
    assert again.worker.progress.running == partitions


def test_alerts_are_those_of_take_overs_within_the_loop() -> None:
    broker = filled(RECORDS)
    one = life(broker, finite=False, policies=ENDLESS, aside=True)
    one.worker.start()
    turn_until(one, lambda: broker.positions.get(ZERO) == len(RECORDS))
    assert alerts(broker) == alerts_of(RECORDS)
