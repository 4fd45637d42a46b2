"""Reads a topic of one partition from its beginning, and then its new records. Joins no group and commits nothing."""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer, TopicPartition

from anomaly_daemon.errors import Incompatible
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments, milliseconds
from anomaly_daemon.transport.kafka.failures import named


class TopicLog:
    """`ports.EndedLog` on a topic. Only one thread may use it."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        """Connect. Raises Incompatible where the topic does not exist, or has several partitions, which have no common
        order."""
        self._topic = topic
        arguments = consumer_arguments(kafka) | {"auto_offset_reset": "earliest"}
        self._consumer: Any = connect(kafka, KafkaConsumer, **arguments)
        with named(f"looking for topic {topic}"):
            partitions = self._consumer.partitions_for_topic(topic)
        if partitions != {0}:
            self._consumer.close()
            found = f"has {len(partitions)} partitions" if partitions else "does not exist, or may not be described"
            raise Incompatible(
                f"topic {topic!r} {found}: create it with one partition, as its messages must be in one order"
            )
        self._partition = TopicPartition(topic, 0)
        self._consumer.assign([self._partition])
        self._consumer.seek_to_beginning()

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """See `ports.Log`."""
        with named(f"reading {self._topic}"):
            found = self._consumer.poll(timeout_ms=milliseconds(seconds))
        return [(record.offset, record.value or b"") for records in found.values() for record in records]

    def end(self) -> int:
        """See `ports.EndedLog`."""
        with named(f"looking for the end of {self._topic}"):
            return int(self._consumer.end_offsets([self._partition])[self._partition])

    def close(self) -> None:
        self._consumer.close(autocommit=False)
