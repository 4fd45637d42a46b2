"""The event generator produces records to a topic of Apache Kafka at a bounded rate."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from anomaly_daemon.errors import DaemonError, Incompatible
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import connect
from anomaly_daemon.transport.kafka.log import TopicLog
from anomaly_daemon.transport.kafka.publish import create_topic, publish
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.kafka.topics import describe
from anomaly_daemon.transport.ports import Outgoing

pytestmark = pytest.mark.kafka


def read(bootstrap: str, topic: str, count: int) -> list[tuple[bytes | None, bytes | None]]:
    consumer = KafkaConsumer(
        proxy_url=PROXY_URL, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
        found: list[tuple[bytes | None, bytes | None]] = []
        while len(found) < count:
            for records in consumer.poll(timeout_ms=1000).values():
                found += [(record.key, record.value) for record in records]
        return found
    finally:
        consumer.close()


def test_every_record_arrives_with_its_key_on_a_topic_that_is_made_when_missing(kafka_broker: Any) -> None:
    kafka, topic = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap), f"publish-{uuid4().hex[:8]}"
    create_topic(kafka, topic, 2)
    create_topic(kafka, topic, 5)
    told: list[int] = []
    records = [Outgoing(b"key-%d" % (number % 3), b"%d" % number) for number in range(500)]
    assert publish(kafka, topic, records, progress=told.append) == sum(told) == 500
    assert sorted(read(kafka_broker.bootstrap, topic, 500)) == sorted((one.key, one.value) for one in records)


def test_a_topic_is_created_as_asked_and_known_at_once(kafka_broker: Any) -> None:
    kafka, topic = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap), f"publish-{uuid4().hex[:8]}"
    create_topic(kafka, topic, 1, {"cleanup.policy": "compact"}, replication_factor=1)
    log = TopicLog(kafka, topic)
    assert log.end() == 0
    log.close()
    with closing(connect(kafka, KafkaAdminClient)) as admin:
        assert describe(admin, [topic])[topic].config["cleanup.policy"] == "compact"
    with pytest.raises(DaemonError, match=f"creating topic {topic}-2"):
        create_topic(kafka, f"{topic}-2", 1, replication_factor=3)


def test_the_rate_is_kept_by_waiting(kafka_broker: Any) -> None:
    kafka, topic = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap), kafka_broker.topic("paced")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    publish(kafka, topic, [Outgoing(b"k", b"v")] * 300, rate=100, clock=lambda: now[0], sleep=sleep)
    assert now[0] == pytest.approx(3.0, abs=0.1)


def test_what_the_broker_refuses_is_an_error_and_not_lost_in_silence(kafka_broker: Any) -> None:
    kafka = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap)
    topic = kafka_broker.topic("small", configs={"max.message.bytes": "1000"})
    with pytest.raises(Incompatible, match=r"max\.message\.bytes"):
        publish(kafka, topic, [Outgoing(b"k", np.random.default_rng(0).bytes(20_000))])


def test_the_demo_publishes_its_backlog(kafka_broker: Any) -> None:
    topic = f"demo-{uuid4().hex[:8]}"
    command = [sys.executable, "-m", "anomaly_daemon.cli", "demo", "--publish", "--rate", "5000", "--topic", topic]
    process = subprocess.Popen(
        [*command, "--bootstrap-servers", kafka_broker.bootstrap], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert topic in process.stdout.readline()
        found = read(kafka_broker.bootstrap, topic, 2000)
        assert all(key is not None and key.startswith(b"press-") for key, _ in found)
    finally:
        process.kill()
        process.communicate()
