"""Looks up offsets of input partitions, from any thread and without being a member of the group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments, milliseconds, name_of
from anomaly_daemon.transport.kafka.failures import named
from anomaly_daemon.transport.ports import Partition

LOOKUP_SECONDS = 30.0
"""Time limit of one request to the broker."""
CLOSE_SECONDS = 1.0


class Offsets:
    """Looks up offsets with a consumer of its own. The group's consumer belongs to the loop, which must not wait for
    answers."""

    def __init__(self, kafka: KafkaSettings) -> None:
        """The consumer connects at the first request."""
        self._kafka = kafka
        self._consumer: Any = None
        self._asking = threading.Lock()

    def committed(self, partition: Partition) -> int | None:
        """Return the committed offset, or None. Waits for a predecessor's open transaction to end: at most for its
        timeout and `LOOKUP_SECONDS`."""
        wait = milliseconds(self._kafka.transaction_timeout_seconds + LOOKUP_SECONDS)
        with self._asking, named(f"reading the committed offset of {name_of(partition)}"):
            offset = self._connected().committed(TopicPartition(*partition), timeout_ms=wait)
        return None if offset is None else int(offset)

    def beginning(self, partition: Partition) -> int:
        return self._look_up(lambda consumer: consumer.beginning_offsets, partition)

    def end(self, partition: Partition) -> int:
        return self._look_up(lambda consumer: consumer.end_offsets, partition)

    def _look_up(self, ask: Callable[[Any], Callable[..., Mapping[TopicPartition, int]]], partition: Partition) -> int:
        name = TopicPartition(*partition)
        with self._asking, named(f"reading the offsets of {name_of(partition)}"):
            return int(ask(self._connected())([name], timeout_ms=milliseconds(LOOKUP_SECONDS))[name])

    def _connected(self) -> Any:
        if self._consumer is None:
            self._consumer = connect(
                self._kafka, KafkaConsumer, group_id=self._kafka.group_id, **consumer_arguments(self._kafka)
            )
        return self._consumer

    def close(self) -> None:
        """Close the consumer. Where a request is still under way after `CLOSE_SECONDS`, it ends with the process."""
        if self._asking.acquire(timeout=CLOSE_SECONDS):
            try:
                if self._consumer is not None:
                    self._consumer.close(autocommit=False)
                self._consumer = None
            finally:
                self._asking.release()
