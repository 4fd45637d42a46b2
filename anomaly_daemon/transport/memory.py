"""The transport without a broker: topics, transactions and rebalances within this process.

It behaves as Kafka does in what matters here: control records take offsets, a commit becomes visible as a whole or not
at all, and a member is fenced when its partitions have moved to another member. The contract suite checks this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from anomaly_daemon.errors import Fenced
from anomaly_daemon.transport.memory_broker import MemoryBroker, Stored
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition, Rebalance, RecordBatch, SentAhead
from anomaly_daemon.transport.steps import STEPS, carry_on

__all__ = ["STEPS", "MemoryBroker", "MemoryDelivery", "MemorySnapshots", "MemorySource", "Stored"]


class MemorySource:
    """Reads one topic. Tests move partitions between sources with `assign`, `revoke` and `lose`."""

    def __init__(
        self,
        broker: MemoryBroker,
        topic: str,
        *,
        partitions: Sequence[int] | None = None,
        max_records: int = 10_000,
        start: str = "earliest",
        finite: bool = True,
    ) -> None:
        """`partitions`: those assigned at the first poll, by default all. `finite`: the source ends once every record
        is read."""
        self._broker, self._topic = broker, topic
        self._max_records, self._latest, self._finite = max_records, start == "latest", finite
        self._first = partitions
        self._listener: Rebalance | None = None
        self._pending: list[tuple[str, list[Partition]]] = []
        self._position: dict[Partition, int] = {}
        self._paused: set[Partition] = set()

    def subscribe(self, listener: Rebalance) -> None:
        self._listener = listener
        everything = self._broker.create(self._topic)
        chosen = range(len(everything)) if self._first is None else self._first
        self.assign([everything[number] for number in chosen])

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Assign these partitions to this source at once, so that no other source may commit for them. The next poll
        reports it to the listener."""
        ours = list(partitions)
        self._broker.owners.update(dict.fromkeys(ours, self))
        self._pending.append(("assigned", ours))

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Have the next poll revoke these partitions in an orderly way."""
        self._pending.append(("revoked", list(partitions)))

    def lose(self, partitions: Iterable[Partition]) -> None:
        """Take these partitions away at once, as if another member had them. The next poll reports them as lost."""
        gone = list(partitions)
        self._disown(gone)
        self._pending.append(("lost", gone))

    def poll(self, timeout_seconds: float) -> list[RecordBatch]:
        self._rebalance()
        deadline = time.monotonic() + timeout_seconds
        with self._broker.changed:
            while not (batches := self._batches()):
                left = deadline - time.monotonic()
                if self._finite or left <= 0:
                    return []
                self._broker.changed.wait(left)
            return batches

    def _rebalance(self) -> None:
        assert self._listener is not None, "subscribe first"
        pending, self._pending = self._pending, []
        for kind, partitions in pending:
            if kind == "assigned":
                self._take(partitions)
                self._listener.assigned(partitions)
            elif kind == "revoked":
                self._listener.revoked(partitions)
                self._disown(partitions)
                self._forget(partitions)
            else:
                self._forget(partitions)
                self._listener.lost(partitions)

    def _take(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            committed = self.committed(partition)
            self._position[partition] = self.start_offset(partition) if committed is None else committed
            self._paused.add(partition)

    def _disown(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            if self._broker.owners.get(partition) is self:
                del self._broker.owners[partition]

    def _forget(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            self._position.pop(partition, None)
            self._paused.discard(partition)

    def _batches(self) -> list[RecordBatch]:
        batches = []
        for partition in sorted(self._position.keys() - self._paused):
            batch = self._broker.read(partition, self._position[partition], self._max_records)
            if batch is not None:
                self._position[partition] = batch.next_offset
                batches.append(batch)
        return batches

    def committed(self, partition: Partition) -> int | None:
        return self._broker.positions.get(partition)

    def start_offset(self, partition: Partition) -> int:
        return self._broker.end(partition) if self._latest else self.beginning(partition)

    def beginning(self, partition: Partition) -> int:
        return self._broker.beginnings.get(partition, 0)

    def topic_id(self, partition: Partition) -> str:
        return self._broker.topic_id

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self._position:
            self._position[partition] = offset

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._paused.update(self._position.keys() & set(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._paused.difference_update(partitions)

    def start_over(self) -> None:
        ours = [partition for partition in self._position if self._broker.owners.get(partition) is self]
        self._pending += [("lost", ours), ("assigned", ours)]

    def lag(self) -> Mapping[Partition, int]:
        return {partition: self._broker.end(partition) - at for partition, at in self._position.items()}

    def owed(self) -> Collection[Partition]:
        return self._position.keys() - self._paused

    def exhausted(self) -> bool:
        return self._finite and not self._pending and not any(self.lag().values())

    def close(self) -> None:
        self._disown(list(self._position))
        self._forget(list(self._position))


class MemoryDelivery:
    """Commits to the broker, everything at once. `before` is called with each of `STEPS`. If it raises, that simulates
    a crash."""

    def __init__(
        self,
        broker: MemoryBroker,
        source: MemorySource | None = None,
        *,
        alerts_topic: str = "anomaly-alerts",
        dead_letter_topic: str = "anomaly-dead-letters",
        before: Callable[[str], None] = carry_on,
        clock: Callable[[], float] = time.time,
        atomic: bool = True,
    ) -> None:
        """With `source`, a commit for a partition that is no longer assigned to that source raises `Fenced`.

        If not `atomic`, it behaves as Kafka without transactions (see `ports.Delivery`), and `before` is called at
        every record.
        """
        self._atomic = atomic
        self._broker, self._source, self._before, self._clock = broker, source, before, clock
        (self._alerts,) = broker.create(alerts_topic)[:1]
        (self._dead_letters,) = broker.create(dead_letter_topic)[:1]

    def deliver(self, commit: Commit) -> None:
        """Deliver as in a Kafka transaction: nothing is visible at the steps before `commit`, and nothing can be undone
        after it."""
        if not self._atomic:
            self._deliver_by_parts(commit)
            return
        for step in STEPS[:-1]:
            self._before(step)
        with self._broker.changed:
            self._refuse_a_zombie(commit)
            now = int(self._clock() * 1e6)
            self._broker.produce(self._alerts, commit.alerts, now)
            self._broker.produce(self._dead_letters, commit.dead_letters, now)
            for partition, outgoing in commit.snapshots.items():
                _compact(self._broker.snapshots.setdefault(partition, {}), outgoing)
            self._broker.positions.update(commit.positions)
        self._before(STEPS[-1])

    def send_ahead(self, alerts: Sequence[Outgoing]) -> Sequence[SentAhead]:
        """Publish the alerts at once, ahead of their commit."""
        return [self._tell(record) for record in alerts]

    def _tell(self, record: Outgoing) -> SentAhead:
        self._before("alerts")
        now = self._clock()
        self._broker.produce(self._alerts, [record], int(now * 1e6))
        return SentAhead(record, now)

    def _deliver_by_parts(self, commit: Commit) -> None:
        for step, topic, records in (
            ("alerts", self._alerts, commit.alerts),
            ("dead_letters", self._dead_letters, commit.dead_letters),
        ):
            for record in records:
                self._before(step)
                self._broker.produce(topic, [record], int(self._clock() * 1e6))
        self._before("positions")
        with self._broker.changed:
            self._refuse_a_zombie(commit)
            self._broker.positions.update(commit.positions)
        for partition, outgoing in commit.snapshots.items():
            for record in outgoing:
                self._before("snapshots")
                with self._broker.changed:
                    _compact(self._broker.snapshots.setdefault(partition, {}), [record])
        self._before("reply")

    def _refuse_a_zombie(self, commit: Commit) -> None:
        if self._source is None:
            return
        gone = [name for name in commit.positions if self._broker.owners.get(name) is not self._source]
        if gone:
            raise Fenced(f"{', '.join(f'{p.topic}-{p.partition}' for p in gone)} belongs to another member now")

    def close(self) -> None: ...


def _compact(store: dict[bytes, bytes], outgoing: Sequence[Outgoing]) -> None:
    """Keep the newest value of each key, as a compacted topic does. A null value removes the key."""
    for record in outgoing:
        assert record.key is not None, "a snapshot is stored by its key"
        if record.value is None:
            store.pop(record.key, None)
        else:
            store[record.key] = record.value


class MemorySnapshots:
    """The snapshots that a MemoryDelivery has committed."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def load(self, partition: Partition) -> dict[bytes, bytes]:
        return dict(self._broker.snapshots.get(partition, {}))
