"""The `World` of the contract tests on Apache Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

from worlds import Hook, Member, closed_at_end

from anomaly_daemon.settings import KafkaSettings, SinkSettings, SnapshotSettings, SourceSettings
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Partition
from anomaly_daemon.transport.steps import carry_on


class KafkaWorld:
    def __init__(self, broker: Any, closing: ExitStack, *, atomic: bool = True) -> None:
        self.broker, self._closing, self._atomic = broker, closing, atomic
        self.input = broker.topic("input", 2)
        self.partitions = [Partition(self.input, number) for number in range(2)]
        self.sink = SinkSettings(alerts_topic=broker.topic("alerts"), dead_letter_topic=broker.topic("dead"))
        self.snapshot = SnapshotSettings(topic=broker.topic("snapshots", 2, {"cleanup.policy": "compact"}))
        name = f"group-{uuid4().hex[:10]}"
        self.kafka = KafkaSettings(
            bootstrap_servers=broker.bootstrap, group_id=name, transactional_id=name, session_timeout_seconds=10.0
        )

    def write(self, number: int, values: Sequence[bytes]) -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=self.broker.bootstrap)
        for value in values:
            producer.send(self.input, value, b"k", partition=number)
        producer.flush()
        producer.close()

    def member(self, before: Hook = carry_on) -> Member:
        from anomaly_daemon.transport.kafka.delivery import KafkaDelivery
        from anomaly_daemon.transport.kafka.plain_delivery import PlainDelivery
        from anomaly_daemon.transport.kafka.snapshots import KafkaSnapshots
        from anomaly_daemon.transport.kafka.source import KafkaSource

        source = KafkaSource(self.kafka, SourceSettings(topic=self.input))
        delivery: Any = (KafkaDelivery if self._atomic else PlainDelivery)(
            self.kafka, self.sink, self.snapshot, source.membership, deadline_seconds=30.0, before=before
        )
        # A dead member's place in the group becomes free after its session timeout; closing only saves that wait.
        snapshots = KafkaSnapshots(self.kafka, self.snapshot)
        self._closing.callback(snapshots.close)
        member = Member(source, delivery, snapshots, source.close)
        return closed_at_end(self._closing, member)

    def alerts(self) -> list[bytes | None]:
        return self._visible(self.sink.alerts_topic)

    def dead_letters(self) -> int:
        return len(self._visible(self.sink.dead_letter_topic))

    def _visible(self, topic: str) -> list[bytes | None]:
        from kafka import KafkaConsumer, TopicPartition

        reader = KafkaConsumer(
            proxy_url=PROXY_URL, bootstrap_servers=self.broker.bootstrap, isolation_level="read_committed"
        )
        names = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic)]
        reader.assign(names)
        reader.seek_to_beginning(*names)
        end = reader.end_offsets(names)
        values: list[bytes | None] = []
        while any(reader.position(name) < end[name] for name in names):
            for records in reader.poll(timeout_ms=100).values():
                values += [record.value for record in records]
        reader.close()
        return values
