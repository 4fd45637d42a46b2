"""Topics of the memory transport: logs, committed positions, snapshots, and who owns which partition."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.ports import Headers, Outgoing, Partition, RecordBatch


class Stored(NamedTuple):
    """One record of a memory topic; its timestamp is in epoch microseconds, -1 for none."""

    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass
class MemoryBroker:
    """Topics, committed positions and snapshots. Thread-safe; `None` in a log is an offset a control record took."""

    topics: dict[str, list[list[Stored | None]]] = field(default_factory=dict)
    positions: dict[Partition, int] = field(default_factory=dict)
    snapshots: dict[Partition, dict[bytes, bytes]] = field(default_factory=dict)
    beginnings: dict[Partition, int] = field(default_factory=dict)
    owners: dict[Partition, object] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    topic_id: str = ""
    """Of every topic."""

    def create(self, topic: str, partitions: int = 1) -> list[Partition]:
        """Make the topic when it is not there; its partitions."""
        with self.changed:
            logs = self.topics.setdefault(topic, [[] for _ in range(partitions)])
            return [Partition(topic, number) for number in range(len(logs))]

    def produce(self, partition: Partition, records: Iterable[Stored | Outgoing], timestamp: int = -1) -> None:
        """Append to the partition; `timestamp` is given to records that carry none."""
        with self.changed:
            self._log(partition).extend(_stored(record, timestamp) for record in records)
            self.changed.notify_all()

    def control_record(self, partition: Partition) -> None:
        """Take one offset for a transaction marker, as Kafka does."""
        with self.changed:
            self._log(partition).append(None)
            self.changed.notify_all()

    def expire(self, partition: Partition, offset: int) -> None:
        """Retention: what stands below `offset` is gone."""
        with self.changed:
            self._log(partition)[:offset] = [None] * offset
            self.beginnings[partition] = offset

    def end(self, partition: Partition) -> int:
        return len(self._log(partition))

    def records(self, topic: str) -> list[Stored]:
        """Every record of the topic, partition by partition."""
        logs = self.topics.get(topic, [])
        return [record for log in logs for record in log if record is not None]

    def read(self, partition: Partition, offset: int, limit: int) -> RecordBatch | None:
        """At most `limit` records from `offset` on; None when the end is reached."""
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
