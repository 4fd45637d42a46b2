"""One configuration over its own topics: the settings of the members, and plain clients that observe from outside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from anomaly_daemon.configuration import load
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Partition
from chaos.records import Record

SESSION_SECONDS, TRANSACTION_SECONDS = 4.0, 3.0
"""Short, so that a death is noticed soon and a run can hold many of them."""
REBALANCE_SECONDS = 30.0
"""The group waits this long for members that do not join. A broker that crashes while members die may lose track of the
dead ones, and then waits for the whole of this time."""
BROKER_PROPERTIES = {
    "group.min.session.timeout.ms": "1000",
    # How often the broker looks for transactions that have timed out; every ten seconds by default.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}
LOOK_MS = 30_000


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment. `topic` is the input's name; the names of the group and of the other topics begin with it."""

    bootstrap: str
    topic: str
    partitions: int

    @property
    def overrides(self) -> list[str]:
        """The settings of a member. No clock may decide anything that is compared, so there is no cap on alerts or dead
        letters, and no stream is evicted as idle."""
        return [
            f"kafka.bootstrap_servers={self.bootstrap}",
            f"kafka.group_id={self.topic}",
            f"kafka.session_timeout_seconds={SESSION_SECONDS}",
            f"kafka.transaction_timeout_seconds={TRANSACTION_SECONDS}",
            f"kafka.max_poll_interval_seconds={REBALANCE_SECONDS}",
            "kafka.max_poll_records=100",
            f"source.topic={self.topic}",
            "source.poll_seconds=0.05",
            f"sink.alerts_topic={self.alerts}",
            f"sink.dead_letter_topic={self.dead_letters}",
            "sink.create_topics=true",
            f"snapshot.topic={self.topic}-snapshots",
            "snapshot.seconds=4",
            "snapshot.buckets=8",
            "commit.seconds=0.2",
            "detection.grace_events=30",
            "detection.budget.alarms_per_stream_per_day=50",
            "limits.alerts_per_minute=1000000",
            "limits.dead_letters_per_minute=1000000",
            "limits.idle_stream_seconds=1e9",
            'stream.numeric=["temperature", "pressure"]',
            'stream.key=["id"]',
            "stream.time=time",
            "http.port=0",
            "log.format=json",
        ]

    @property
    def settings(self) -> Settings:
        return load(None, self.overrides, {})

    @property
    def alerts(self) -> str:
        return f"{self.topic}-alerts"

    @property
    def dead_letters(self) -> str:
        return f"{self.topic}-dead-letters"

    @property
    def input(self) -> list[Partition]:
        return [Partition(self.topic, number) for number in range(self.partitions)]

    def create_input(self) -> None:
        """Create the input topic without retention, because the timestamps of its records are years old."""
        kept = {"retention.ms": "-1"}
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap, proxy_url=PROXY_URL)) as admin:
            admin.create_topics([NewTopic(self.topic, self.partitions, -1, topic_configs=kept)])

    def watcher(self) -> Any:
        """Return a consumer that does not join the group, but can ask for its committed offsets."""
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            proxy_url=PROXY_URL,
            group_id=self.topic,
            isolation_level="read_committed",
            enable_auto_commit=False,
            reconnect_backoff_max_ms=1000,
        )

    def committed(self, watcher: Any) -> dict[Partition, int]:
        """The group's committed offset of each input partition, 0 where there is none yet."""
        asked = {at: watcher.committed(TopicPartition(*at), timeout_ms=LOOK_MS) for at in self.input}
        return {at: int(offset or 0) for at, offset in asked.items()}

    def ends(self, watcher: Any) -> dict[Partition, int]:
        """The log end offset of each input partition."""
        found = watcher.end_offsets([TopicPartition(*at) for at in self.input])
        return {at: int(found[TopicPartition(*at)]) for at in self.input}

    def arrived(self) -> list[Record]:
        """The records that the input holds, in the order of each partition."""
        return [Record(record.partition, record.timestamp, record.value) for record in self.read(self.topic)]

    def read(self, topic: str) -> list[Any]:
        """Read every committed record of a topic, in the order of each partition."""
        with closing(self.watcher()) as watcher:
            names = [TopicPartition(topic, number) for number in watcher.partitions_for_topic(topic) or ()]
            watcher.assign(names)
            watcher.seek_to_beginning()
            ends = watcher.end_offsets(names)
            found: list[Any] = []
            while any(watcher.position(name) < ends[name] for name in names):
                for records in watcher.poll(timeout_ms=200).values():
                    found += records
            return found


class Feed:
    """Appends the records in order, as far as `to` is called, and waits while a broker is down. After a broker's crash
    its producer may begin a new epoch and append records again that are already written. `Deployment.arrived` returns
    what the topic really holds."""

    def __init__(self, deployment: Deployment, records: Sequence[Record]) -> None:
        self._topic, self.records, self.fed = deployment.topic, records, 0
        self._producer: Any = KafkaProducer(
            bootstrap_servers=deployment.bootstrap,
            proxy_url=PROXY_URL,
            enable_idempotence=True,
            reconnect_backoff_max_ms=1000,
        )

    def to(self, count: int) -> None:
        """Append the records up to number `count`."""
        for partition, milliseconds, value in self.records[self.fed : count]:
            self._producer.send(self._topic, value, partition=partition, timestamp_ms=milliseconds)
        self.fed = max(self.fed, count)

    def rest(self) -> None:
        """Append all remaining records, and return when the broker has them."""
        self.to(len(self.records))
        self._producer.flush()

    def close(self) -> None:
        self._producer.close()
