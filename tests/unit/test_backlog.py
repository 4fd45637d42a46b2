"""Replays and live partitions take turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from crashing import BUCKETS, ENDLESS, POLICIES, TOPIC, Clock, Life, alerts, life, ran, turned

from anomaly_daemon.daemon.backlog import FIRST_RECORDS, LEAST_RECORDS, SHARE_SECONDS, share
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.transport.memory import MemoryBroker, Stored
from anomaly_daemon.transport.ports import Partition

NEVER = replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS))
LIVE, REPLAYING = Partition(TOPIC, 0), Partition(TOPIC, 1)
RECORDS = 20 * FIRST_RECORDS


def test_a_share_is_what_fits_into_its_time_at_the_pace_of_the_last() -> None:
    assert share(100, SHARE_SECONDS) == 100
    assert share(100, SHARE_SECONDS / 4) == 400
    assert share(400, SHARE_SECONDS) == 400


def test_a_share_is_never_too_small_to_make_progress() -> None:
    assert share(1, 1e9) == LEAST_RECORDS
    assert share(100, 0.0) == 200


def crashed() -> MemoryBroker:
    """Return a broker with a long stream that has to be replayed from its beginning, and a partition that has to replay
    nothing."""
    broker = MemoryBroker()
    broker.create(TOPIC, 2)
    broker.produce(REPLAYING, [Stored(time, b"a", b"150" if time % 2 else b"1") for time in range(RECORDS)])
    turned(life(broker, policies=NEVER, max_records=10**6), 3)
    assert broker.positions[REPLAYING] == RECORDS
    return broker


def restarted(broker: MemoryBroker) -> Life:
    one = life(broker, policies=ENDLESS, finite=False, max_records=10**6, clock=Clock(step=SHARE_SECONDS))
    return turned(one, 2)


def test_a_live_partition_is_read_and_committed_while_another_replays_one_long_poll() -> None:
    broker = crashed()
    one = restarted(broker)
    assert (one.worker.progress.running, one.worker.progress.restoring) == (1, 1)
    for time in range(3):
        broker.produce(LIVE, [Stored(time, b"b", b"150" if time % 2 == 0 else b"1")])
        one.worker.turn()
        assert broker.positions[LIVE] == time + 1
    assert one.worker.progress.restoring == 1
    assert 0 < one.worker.progress.records_left < RECORDS


def test_shares_come_to_the_same_as_the_whole() -> None:
    broker = crashed()
    one = restarted(broker)
    broker.produce(REPLAYING, [Stored(RECORDS, b"a", b"7")])
    while broker.positions[REPLAYING] <= RECORDS:
        one.worker.turn()
    whole = crashed()
    whole.produce(REPLAYING, [Stored(RECORDS, b"a", b"7")])
    other = ran(whole)
    assert one.detectors[REPLAYING].state == other.detectors[REPLAYING].state  # type: ignore[attr-defined]
    assert alerts(broker) == alerts(whole)


def test_without_a_live_partition_a_poll_is_replayed_whole() -> None:
    broker = crashed()
    one = life(broker, policies=ENDLESS, finite=False, max_records=10**6, partitions=[1])
    turned(one, 2)
    assert one.worker.progress.ready


def test_the_rest_of_a_partition_that_left_is_dropped() -> None:
    broker = crashed()
    one = restarted(broker)
    assert len(one.worker._backlog) == 1
    one.source.lose([REPLAYING])
    one.worker.turn()
    assert len(one.worker._backlog) == 0
    one.source.assign([REPLAYING])
    while not one.worker.progress.ready or one.worker.progress.running < 2:
        one.worker.turn()
    assert one.detectors[REPLAYING].state["a"][1] == RECORDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("records", [FIRST_RECORDS, FIRST_RECORDS + 1])
def test_a_share_more_or_less_changes_nothing(records: int) -> None:
    broker = MemoryBroker()
    broker.create(TOPIC, 2)
    broker.produce(REPLAYING, [Stored(time, b"a", b"1") for time in range(records)])
    turned(life(broker, policies=NEVER, max_records=10**6), 3)
    one = restarted(broker)
    while not one.worker.progress.ready:
        one.worker.turn()
    assert np.asarray(one.detectors[REPLAYING].state["a"])[1] == records  # type: ignore[attr-defined]
