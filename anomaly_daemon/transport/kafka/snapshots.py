"""Reads the snapshots of an input partition back at a take-over."""

from __future__ import annotations

import threading
import time
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.protocol.consumer import IsolationLevel
from kafka.protocol.consumer.offsets import OffsetSpec

from anomaly_daemon.errors import Unavailable
from anomaly_daemon.settings import KafkaSettings, SnapshotSettings
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments, milliseconds
from anomaly_daemon.transport.kafka.failures import named
from anomaly_daemon.transport.ports import Partition

POLL_SECONDS = 0.5
CLOSE_SECONDS = 1.0
STALLED_SECONDS = 60.0
"""Seconds without progress, beyond the transaction timeout, after which the restore is given up."""


class KafkaSnapshots:
    """`ports.SnapshotStore`: partition p of the snapshot topic belongs to partition p of the input."""

    def __init__(self, kafka: KafkaSettings, snapshot: SnapshotSettings) -> None:
        self._kafka, self._topic = kafka, snapshot.topic
        self._admin: Any = None
        self._consumer: Any = None
        self._loading = threading.Lock()

    def load(self, partition: Partition) -> dict[bytes, bytes]:
        """Return the newest committed value of each key, without deleted keys.

        Reads up to the high watermark, not to the last stable offset. The previous owner's last commit may be decided
        while its markers are not written yet, and a reader that stopped at the last stable offset would miss it. An
        open transaction delays the load until it ends, at the latest by its timeout. The *position* is compared with
        the end, because markers take offsets and never appear as records.

        Raises Unavailable when there is no progress for long.
        """
        name = TopicPartition(self._topic, partition.partition)
        with self._loading, named(f"reading the snapshots of {partition.topic}-{partition.partition}"):
            self._connect()
            begin, end = self._offset(name, OffsetSpec.EARLIEST), self._offset(name, OffsetSpec.LATEST)
            self._consumer.assign([name])
            self._consumer.seek(name, begin)
            return self._read(name, end)

    def _connect(self) -> None:
        if self._admin is None:
            self._admin = connect(self._kafka, KafkaAdminClient)
        if self._consumer is None:
            self._consumer = connect(self._kafka, KafkaConsumer, **consumer_arguments(self._kafka))

    def _offset(self, name: TopicPartition, spec: OffsetSpec) -> int:
        found = self._admin.list_partition_offsets({name: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return int(found[name].offset)

    def _read(self, name: TopicPartition, end: int) -> dict[bytes, bytes]:
        newest: dict[bytes, bytes] = {}
        patience = self._kafka.transaction_timeout_seconds + STALLED_SECONDS
        position, deadline = -1, time.monotonic() + patience
        while (reached := int(self._consumer.position(name, timeout_ms=0))) < end:
            if reached > position:
                position, deadline = reached, time.monotonic() + patience
            elif time.monotonic() > deadline:
                raise Unavailable(
                    f"{self._topic}-{name.partition} cannot be read past offset {reached} (its end is {end}): is "
                    "a transaction open on it?"
                )
            for record in self._consumer.poll(timeout_ms=milliseconds(POLL_SECONDS)).get(name, ()):
                _keep(newest, record.key, record.value)
        return newest

    def close(self) -> None:
        """Close the clients. Where a load is still under way after `CLOSE_SECONDS`, it ends with the process."""
        if self._loading.acquire(timeout=CLOSE_SECONDS):
            try:
                self._disconnect()
            finally:
                self._loading.release()

    def _disconnect(self) -> None:
        if self._consumer is not None:
            self._consumer.close(autocommit=False)
        if self._admin is not None:
            self._admin.close()
        self._admin = self._consumer = None


def _keep(newest: dict[bytes, bytes], key: bytes | None, value: bytes | None) -> None:
    if key is None:
        return
    if value is None:
        newest.pop(key, None)
    else:
        newest[key] = value
