"""Writes records to a topic at a bounded rate: the event generator of the demo and of the benchmarks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import connect
from anomaly_daemon.transport.kafka.failures import named
from anomaly_daemon.transport.ports import Outgoing

PACE_SECONDS = 0.01
"""Shorter waits are accumulated, because sleeping after each record would be slower than the rate."""
CLOSE_SECONDS = 10.0


def create_topic(
    kafka: KafkaSettings,
    topic: str,
    partitions: int,
    config: Mapping[str, str] | None = None,
    replication_factor: int = -1,
) -> None:
    """Create the topic if it does not exist yet, and wait until the brokers know it. An existing topic is left unchanged.
    A replication factor of -1 is the cluster's default."""
    admin = connect(kafka, KafkaAdminClient)
    try:
        with named(f"creating topic {topic}"), suppress(TopicAlreadyExistsError):
            if topic in admin.list_topics():  # a user who may not create topics gets no error then
                return
            admin.create_topics([NewTopic(topic, partitions, replication_factor, topic_configs=dict(config or {}))])
            admin.wait_for_topics([topic])
    finally:
        admin.close()


def publish(
    kafka: KafkaSettings,
    topic: str,
    records: Iterable[Outgoing],
    *,
    rate: float | None = None,
    progress: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send every record, at most `rate` a second (None: as fast as possible), and wait until all are acknowledged.
    Returns their number.

    `records` may be slow: the records that it has already given are sent meanwhile. Raises one of `errors`.
    """
    producer = connect(kafka, KafkaProducer, acks="all", linger_ms=20, compression_type="lz4", metrics_enabled=False)
    under_way: deque[Any] = deque()
    began, sent = clock(), 0
    try:
        with named(f"writing to topic {topic}"):
            for sent, record in enumerate(records, 1):
                if rate is not None and (ahead := sent / rate - (clock() - began)) > PACE_SECONDS:
                    sleep(ahead)
                headers = list(record.headers)
                under_way.append(producer.send(topic, key=record.key, value=record.value, headers=headers))
                _confirm(under_way)
                if progress is not None:
                    progress(1)
            producer.flush()
            _confirm(under_way)
    finally:
        producer.close(timeout=CLOSE_SECONDS)
    return sent


def _confirm(under_way: deque[Any]) -> None:
    """Remove acknowledged records from the head of the queue. Raises the error of a record that failed."""
    while under_way and under_way[0].is_done:
        under_way.popleft().get(timeout=0)
