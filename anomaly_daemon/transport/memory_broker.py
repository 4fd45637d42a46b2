"""The broker of the memory transport: logs, committed positions, snapshots, and which source owns which partition."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.ports import Headers, Outgoing, Partition, RecordBatch


class Stored(NamedTuple):
    """One record of a memory topic. Its timestamp is in epoch microseconds, -1 for none."""

    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass
class MemoryBroker:
    """Topics, committed positions and snapshots. Thread-safe. `None` in a log is an offset without a record: a control
    record took it, or the record has expired."""

    topics: dict[str, list[list[Stored | None]]] = field(default_factory=dict)
    positions: dict[Partition, int] = field(default_factory=dict)
    snapshots: dict[Partition, dict[bytes, bytes]] = field(default_factory=dict)
    beginnings: dict[Partition, int] = field(default_factory=dict)
    owners: dict[Partition, object] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    topic_id: str = ""
    """The id of every topic; the topics share one."""

    def create(self, topic: str, partitions: int = 1) -> list[Partition]:
        """Create the topic if it does not exist. Returns its partitions."""
        with self.changed:
            logs = self.topics.setdefault(topic, [[] for _ in range(partitions)])
            return [Partition(topic, number) for number in range(len(logs))]

    def produce(self, partition: Partition, records: Iterable[Stored | Outgoing], timestamp: int = -1) -> None:
        """Append records to the partition. An `Outgoing` record gets `timestamp`; a `Stored` one keeps its own."""
        with self.changed:
            self._log(partition).extend(_stored(record, timestamp) for record in records)
            self.changed.notify_all()

    def control_record(self, partition: Partition) -> None:
        """Use up one offset for a transaction marker, as Kafka does."""
        with self.changed:
            self._log(partition).append(None)
            self.changed.notify_all()

    def expire(self, partition: Partition, offset: int) -> None:
        """Remove the records below `offset`, as retention does."""
        with self.changed:
            self._log(partition)[:offset] = [None] * offset
            self.beginnings[partition] = offset

    def end(self, partition: Partition) -> int:
        return len(self._log(partition))

    def records(self, topic: str) -> list[Stored]:
        """Return every record of the topic, partition by partition."""
        logs = self.topics.get(topic, [])
        return [record for log in logs for record in log if record is not None]

    def read(self, partition: Partition, offset: int, limit: int) -> RecordBatch | None:
        """Return the records of at most `limit` offsets from `offset` on; None at the end of the log."""
        log = self._log(partition)[offset : offset + limit]
        if not log:
            return None
        found = [(offset + place, record) for place, record in enumerate(log) if record is not None]
        return RecordBatch(
            partition,
            np.array([at for at, _ in found], dtype=np.int64),
            np.array([record.timestamp for _, record in found], dtype=np.int64),
            [record.key for _, record in found],
            [record.value for _, record in found],
            [record.headers for _, record in found],
            offset + len(log),
        )

    def _log(self, partition: Partition) -> list[Stored | None]:
        logs = self.topics.get(partition.topic)
        if logs is None or not 0 <= partition.partition < len(logs):
            raise Unavailable(f"no partition {partition.partition} of topic {partition.topic!r}")
        return logs[partition.partition]


def _stored(record: Stored | Outgoing, timestamp: int) -> Stored:
    if isinstance(record, Outgoing):
        return Stored(timestamp, record.key, record.value, record.headers)
    return record
