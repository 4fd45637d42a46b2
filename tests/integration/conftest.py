"""Fixtures of the tests on Apache Kafka: settings for a new group, a listener that records, and plain readers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from daemon_process import Daemon, Deployment

from anomaly_daemon.settings import KafkaSettings, Settings, SinkSettings, SnapshotSettings, SourceSettings
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Partition, Rebalance, RecordBatch

PATIENCE_SECONDS = 30.0
"""The deadline of every wait in this file. Only a test that fails reaches it."""


@dataclass
class Told:
    """A listener that takes over every partition at once, at its committed offset or at the beginning."""

    source: Any
    events: list[tuple[str, tuple[Partition, ...]]] = field(default_factory=list)
    owned: set[Partition] = field(default_factory=set)
    on_revoked: Callable[[tuple[Partition, ...]], None] = lambda _partitions: None

    def assigned(self, partitions: Iterable[Partition]) -> None:
        self.events.append(("assigned", tuple(partitions)))
        for partition in partitions:
            committed = self.source.committed(partition)
            self.source.seek(partition, self.source.start_offset(partition) if committed is None else committed)
        self.source.resume(partitions)
        self.owned |= set(partitions)

    def revoked(self, partitions: Iterable[Partition]) -> None:
        self.events.append(("revoked", tuple(partitions)))
        self.on_revoked(tuple(partitions))
        self.owned -= set(partitions)

    def lost(self, partitions: Iterable[Partition]) -> None:
        self.events.append(("lost", tuple(partitions)))
        self.owned -= set(partitions)


class Rig:
    """One input topic with its topics for alerts, dead letters and snapshots, and clients that are closed at the end of
    the test."""

    def __init__(self, broker: Any, partitions: int, closing: ExitStack) -> None:
        self.broker, self._closing = broker, closing
        self.input = broker.topic("input", partitions)
        self.sink = SinkSettings(alerts_topic=broker.topic("alerts"), dead_letter_topic=broker.topic("dead"))
        self.snapshot = SnapshotSettings(topic=broker.topic("snapshots", partitions, {"cleanup.policy": "compact"}))
        self.group = f"group-{uuid4().hex[:10]}"

    def close(self) -> None:
        self._closing.close()

    def kafka(self, **changes: Any) -> KafkaSettings:
        fixed = {"bootstrap_servers": self.broker.bootstrap, "group_id": self.group, "session_timeout_seconds": 10.0}
        return KafkaSettings(**(fixed | changes))

    def source(self, **changes: Any) -> tuple[Any, Told]:
        """Return a source that is subscribed and not polled yet, and the listener that records its rebalances."""
        from anomaly_daemon.transport.kafka.source import KafkaSource

        source = KafkaSource(self.kafka(**changes), SourceSettings(topic=self.input))
        self._closing.callback(source.close)
        told = Told(source)
        listener: Rebalance = told
        source.subscribe(listener)
        return source, told

    def delivery(
        self, source: Any, *, kafka: KafkaSettings | None = None, atomic: bool = True, **arguments: Any
    ) -> Any:
        from anomaly_daemon.transport.kafka.delivery import KafkaDelivery
        from anomaly_daemon.transport.kafka.plain_delivery import PlainDelivery

        arguments = {"deadline_seconds": PATIENCE_SECONDS} | arguments
        delivery: Any = (KafkaDelivery if atomic else PlainDelivery)(
            kafka or self.kafka(), self.sink, self.snapshot, source.membership, **arguments
        )
        self._closing.callback(delivery.close)
        return delivery

    def produce(self, *values: bytes | None, topic: str | None = None, partition: int = 0, key: bytes = b"k") -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=self.broker.bootstrap)
        for value in values:
            producer.send(topic or self.input, value, key, partition=partition)
        producer.flush()
        producer.close()

    def visible(self, topic: str) -> list[bytes | None]:
        """Return the values of the committed records of a topic, read by a plain consumer."""
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

    def position(self, partition: int = 0) -> int | None:
        """Return the group's committed offset, read by a plain consumer."""
        from kafka import KafkaConsumer, TopicPartition

        reader = KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=self.broker.bootstrap, group_id=self.group)
        try:
            found: int | None = reader.committed(TopicPartition(self.input, partition))
            return found
        finally:
            reader.close(autocommit=False)


def poll_until(sources: Iterable[Any], done: Callable[[list[RecordBatch]], bool]) -> list[RecordBatch]:
    """Poll the sources in turn until `done` is true for all their batches, and return these. Fails at the deadline."""
    batches: list[RecordBatch] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done(batches):
        assert time.monotonic() < deadline, "waited too long"
        for source in sources:
            batches += source.poll(0.05)
    return batches


@pytest.fixture
def rigs(kafka_broker: Any) -> Iterator[Callable[..., Rig]]:
    """rigs(partitions=1): make a rig on the shared broker."""
    with ExitStack() as closing:
        yield lambda partitions=1: Rig(kafka_broker, partitions, closing)


@pytest.fixture
def rig_on(broker_at: Callable[[str], Any]) -> Iterator[Callable[[str], Rig]]:
    """rig_on(bootstrap): make a rig on a broker that the test started itself."""
    with ExitStack() as closing:
        yield lambda bootstrap: Rig(broker_at(bootstrap), 1, closing)


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    """A rig with one input partition."""
    return rigs(1)


@pytest.fixture
def polling() -> Callable[[Iterable[Any], Callable[[list[RecordBatch]], bool]], list[RecordBatch]]:
    return poll_until


class MakeSettings:
    """make_settings({"input": ..., "alerts": ..., "dead": ..., "snapshots": ...}, {kafka keys}) -> Settings."""

    def __call__(self, topics: Mapping[str, str], kafka: Mapping[str, Any], *, create_topics: bool = False) -> Settings:
        return Settings.model_validate(
            {
                "kafka": kafka,
                "source": {"topic": topics["input"]},
                "stream": {"numeric": ["value"]},
                "sink": {
                    "alerts_topic": topics["alerts"],
                    "dead_letter_topic": topics["dead"],
                    "create_topics": create_topics,
                },
                "snapshot": {"topic": topics["snapshots"]},
            }
        )

    def topic(self, bootstrap: str, prefix: str) -> str:
        """Create a new topic on any broker, and return its name."""
        from kafka.admin import KafkaAdminClient, NewTopic

        name = f"{prefix}-{uuid4().hex[:10]}"
        admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=bootstrap)
        admin.create_topics([NewTopic(name, 1, 1)])
        admin.close()
        return name


@pytest.fixture
def taking_all() -> type[Told]:
    """taking_all(source): a listener that takes over every partition at once."""
    return Told


@pytest.fixture
def make_settings() -> MakeSettings:
    return MakeSettings()


@pytest.fixture
def allow() -> Callable[[str, str, str, str], None]:
    """allow(bootstrap, user, topic, operation): add one entry to the broker's access control list."""

    def add(bootstrap: str, user: str, topic: str, operation: str) -> None:
        from kafka import KafkaAdminClient
        from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

        pattern = ResourcePattern(ResourceType.TOPIC, topic)
        admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=bootstrap)
        admin.create_acls([ACL(f"User:{user}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)])
        admin.close()

    return add


@pytest.fixture
def daemons(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Daemon]]:
    """The daemons that the `Deployment`s of a test have started. Those that still run at its end are killed."""
    running: list[Daemon] = []
    inner = Deployment.start

    def start(self: Deployment, *overrides: str, arguments: Sequence[str] = ()) -> Daemon:
        running.append(inner(self, *overrides, arguments=arguments))
        return running[-1]

    monkeypatch.setattr(Deployment, "start", start)
    yield running
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.end(signal.SIGKILL)


@pytest.fixture
def deployment(kafka_broker: Any, tmp_path: Path, daemons: list[Daemon]) -> Callable[..., Deployment]:
    """deployment(partitions=1, *overrides): a deployment over a new topic of the shared broker."""
    return lambda partitions=1, *overrides: Deployment(
        kafka_broker.bootstrap, kafka_broker.topic("readings", partitions), tmp_path, *overrides
    )
