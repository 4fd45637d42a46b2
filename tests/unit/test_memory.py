"""The memory transport beyond the contract: rebalances, fencing, retention, control records and live input."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from anomaly_daemon.errors import Fenced, Unavailable
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySource, Stored
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition


class Remembers:
    def __init__(self, source: MemorySource) -> None:
        self.source = source
        self.told: list[tuple[str, list[int]]] = []

    def assigned(self, partitions: Iterable[Partition]) -> None:
        self.told.append(("assigned", [partition.partition for partition in partitions]))
        self.source.resume(partitions)

    def revoked(self, partitions: Iterable[Partition]) -> None:
        self.told.append(("revoked", [partition.partition for partition in partitions]))

    def lost(self, partitions: Iterable[Partition]) -> None:
        self.told.append(("lost", [partition.partition for partition in partitions]))


def reading(broker: MemoryBroker, **arguments: object) -> tuple[MemorySource, Remembers]:
    source = MemorySource(broker, "readings", **arguments)  # type: ignore[arg-type]
    told = Remembers(source)
    source.subscribe(told)
    return source, told


def filled(partitions: int = 1, records: int = 3) -> tuple[MemoryBroker, list[Partition]]:
    broker = MemoryBroker()
    names = broker.create("readings", partitions)
    for name in names:
        broker.produce(name, [Stored(1, None, b"%d" % number) for number in range(records)])
    return broker, names


def values(source: MemorySource) -> list[bytes | None]:
    return [value for batch in source.poll(0.0) for value in batch.values]


def test_revoke_and_lose_are_told_by_the_next_poll_and_end_the_reading() -> None:
    broker, (one, two, three) = filled(3)
    source, told = reading(broker)
    source.poll(0.0)
    source.revoke([one])
    source.lose([two])
    broker.produce(three, [Stored(1, None, b"more")])
    assert values(source) == [b"more"]
    assert told.told == [("assigned", [0, 1, 2]), ("revoked", [0]), ("lost", [1])]
    assert source.lag() == {three: 0}


def test_a_member_whose_partition_is_anothers_cannot_commit_for_it() -> None:
    broker, (one,) = filled()
    zombie, _ = reading(broker)
    zombie.poll(0.0)
    delivery = MemoryDelivery(broker, zombie)
    delivery.deliver(Commit({one: 1}))
    zombie.lose([one])
    heir, _ = reading(broker)
    assert values(heir) == [b"1", b"2"]
    with pytest.raises(Fenced, match="readings-0"):
        delivery.deliver(Commit({one: 3}, [Outgoing(b"k", b"late")]))
    assert broker.records("anomaly-alerts") == []
    assert heir.committed(one) == 1


def test_a_revoked_partition_can_still_be_committed_while_it_is_told() -> None:
    broker, (one,) = filled()
    source, told = reading(broker)
    source.poll(0.0)
    delivery = MemoryDelivery(broker, source)
    told.revoked = lambda partitions: delivery.deliver(Commit(dict.fromkeys(partitions, 2)))  # type: ignore[method-assign]
    source.revoke([one])
    source.poll(0.0)
    assert source.committed(one) == 2


def test_control_records_take_offsets_and_are_never_seen() -> None:
    broker, (one,) = filled(records=1)
    broker.control_record(one)
    source, _ = reading(broker)
    (batch,) = source.poll(0.0)
    assert (batch.offsets.tolist(), batch.next_offset) == ([0], 2)
    assert source.exhausted()


def test_what_retention_took_is_below_the_beginning() -> None:
    broker, (one,) = filled()
    broker.expire(one, 2)
    source, _ = reading(broker)
    assert source.beginning(one) == source.start_offset(one) == 2
    assert values(source) == [b"2"]


def test_latest_starts_at_the_end_and_a_part_of_the_partitions_can_be_asked_for() -> None:
    broker, (_, two) = filled(2)
    source, told = reading(broker, start="latest", partitions=[1])
    assert values(source) == []
    broker.produce(two, [Outgoing(b"k", b"new")], timestamp=5)
    (batch,) = source.poll(0.0)
    assert (batch.values, batch.timestamps.tolist()) == ([b"new"], [5])
    assert told.told == [("assigned", [1])]


def test_a_live_source_waits_for_what_another_thread_produces_and_is_never_exhausted() -> None:
    broker, (one,) = filled(records=0)
    source, _ = reading(broker, finite=False)
    assert source.poll(0.0) == []
    producer = threading.Timer(0.05, broker.produce, (one, [Stored(1, None, b"x")]))
    producer.start()
    assert [batch.values for batch in source.poll(30.0)] == [[b"x"]]
    producer.join()
    assert not source.exhausted()


def test_a_batch_is_bounded() -> None:
    broker, _ = filled(records=5)
    source, _ = reading(broker, max_records=2)
    assert [values(source) for _ in range(4)] == [[b"0", b"1"], [b"2", b"3"], [b"4"], []]


def test_a_topic_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        MemoryBroker().end(Partition("nowhere", 0))
