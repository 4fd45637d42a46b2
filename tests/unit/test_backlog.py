"""Replays and live partitions take turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from crashing import BUCKETS, ENDLESS, POLICIES, TOPIC, ZERO, Clock, Life, alerts, life, ran, turned

from anomaly_daemon.daemon.backlog import LEAST_RECORDS, SHARE_SECONDS
from anomaly_daemon.daemon.parts import FIRST_RECORDS, PART_SECONDS, WHOLE_BATCHES, Pace, Parts
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.transport.memory import MemoryBroker, Stored
from anomaly_daemon.transport.ports import Partition, RecordBatch

NEVER = replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS))
LIVE, REPLAYING = Partition(TOPIC, 0), Partition(TOPIC, 1)
RECORDS = 20 * FIRST_RECORDS


def pace(seconds: float, least: int) -> Pace:
    return Pace(Clock(), seconds, least)


def test_a_share_is_what_fits_into_its_time_at_the_pace_of_the_last() -> None:
    one = pace(SHARE_SECONDS, LEAST_RECORDS)
    assert one.share(100, SHARE_SECONDS) == 100
    assert one.share(100, SHARE_SECONDS / 4) == 400
    assert one.share(400, SHARE_SECONDS) == 400


def test_a_share_is_never_too_small_to_make_progress() -> None:
    assert pace(SHARE_SECONDS, LEAST_RECORDS).share(1, 1e9) == LEAST_RECORDS
    assert pace(PART_SECONDS, 1).share(1, 1e9) == 1
    assert pace(SHARE_SECONDS, LEAST_RECORDS).share(100, 0.0) == 200


@pytest.mark.parametrize(("records", "took", "next_share"), [(100, 0.125, 16), (5, 0.01, 100), (5, 0.04, 2)])
def test_a_short_rest_says_nothing_of_the_pace_unless_it_was_long(records: int, took: float, next_share: int) -> None:
    broker = MemoryBroker()
    broker.produce(*broker.create(TOPIC), [Stored(9, b"a", b"1")] * records)
    batch, clock = broker.read(LIVE, 0, records), Clock(step=took)
    assert batch is not None
    one = Pace(clock, PART_SECONDS, 1)
    one.timed(lambda *_: None, None, batch)  # type: ignore[arg-type]
    assert one.records == next_share


class Takes:
    """Batches taken at a cost, by a clock that only that moves."""

    def __init__(self, each: float, call: float = 0.0) -> None:
        self.each, self.call, self.now, self.sizes = each, call, 0.0, list[int]()
        self._parts, self._broker = Parts(lambda: self.now), MemoryBroker()
        (self._at,) = self._broker.create(TOPIC)

    def _take(self, _: object, batch: RecordBatch) -> None:
        self.sizes.append(len(batch))
        self.now += self.call + self.each * len(batch)

    def __call__(self, records: int) -> list[int]:
        """The sizes of the parts that a batch of so many is taken in."""
        self.sizes, end = [], self._broker.end(self._at)
        self._broker.produce(self._at, [Stored(9, b"a", b"1")] * records)
        batch = self._broker.read(self._at, end, records)
        assert batch is not None
        self._parts.take(self._take, None, batch)  # type: ignore[arg-type]
        return self.sizes


def test_the_first_batch_is_taken_whole_and_the_next_in_parts_of_their_time() -> None:
    takes = Takes(each=PART_SECONDS / 16.5)
    assert [takes(200), takes(40), takes(10), takes(16)] == [[200], [16, 16, 8], [10], [16]]


def test_parts_that_cost_as_much_as_the_whole_are_given_up_for_a_while() -> None:
    """A part of few streams takes as many rounds as all of it."""
    takes = Takes(each=PART_SECONDS / 1000, call=1.0)
    assert takes(2000) == [2000]
    first, rest = takes(2000)
    assert first < rest
    assert [takes(2000) for _ in range(WHOLE_BATCHES - 1)] == [[2000]] * (WHOLE_BATCHES - 1)
    assert len(takes(2000)) == 2


def test_what_a_slower_machine_costs_is_not_held_against_parts() -> None:
    takes = Takes(each=PART_SECONDS / 16.5)
    takes(200)
    takes.each *= 1.9
    assert len(takes(160)) > 10
    assert len(takes(160)) > 10


@pytest.mark.parametrize(("atomic", "told_within"), [(True, [0, 0]), (False, [0, 1])])
def test_alerts_of_the_first_part_of_a_poll_need_not_wait_for_the_last_unless_a_transaction_holds_them(
    atomic: bool, told_within: list[int]
) -> None:
    broker, seen = MemoryBroker(), list[int]()
    broker.produce(*broker.create(TOPIC), [Stored(at, b"a", b"1") for at in range(2 * FIRST_RECORDS)])
    looking = lambda *_: seen.append(len(broker.records("anomaly-alerts")))  # noqa: E731
    quick = Clock(step=PART_SECONDS / 50)
    one = turned(life(broker, atomic=atomic, max_records=10**6, clock=quick, finite=False, observers=[looking]), 2)
    seen.clear()
    quick.step = PART_SECONDS / 25
    broker.produce(ZERO, [Stored(at, b"a", b"150") for at in range(10_000, 10_000 + 10**5)])
    one.worker.turn()
    assert [seen[0], seen[-1]] == told_within
    one.worker.finish()
    assert len(alerts(broker)) == 1


def crashed() -> MemoryBroker:
    """A long stream that has to be replayed from its beginning, beside one that has to replay nothing."""
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
