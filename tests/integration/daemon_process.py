"""The daemon as a separate process on Apache Kafka, the records that it reads, and the alerts that a plain consumer
sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.configuration import load
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySource, Stored
from anomaly_daemon.transport.ports import Partition

PATIENCE_SECONDS = 90.0
"""A deadline that is long enough for a loaded machine. A wait ends as soon as what it waits for has happened."""


def wait_for(what: str, happened: Callable[[], Any]) -> Any:
    """Call `happened` until it returns a true value, and return that value. Raises AssertionError at the deadline."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_SECONDS:g} s for {what}")


def recreate(bootstrap: str, topic: str) -> None:
    """Delete the topic, and create another one of its name."""
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=bootstrap)) as admin:
        admin.delete_topics([topic])
        wait_for("the topic to go", lambda: topic not in admin.list_topics())
        admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"retention.ms": "-1"})])
        wait_for("the topic to come", lambda: topic in admin.list_topics())


def readings(streams: Sequence[str], events: int, jumps: Sequence[int]) -> list[bytes]:
    """Return one quiet reading of every stream a minute. From each of `jumps` on, ten readings of every stream are far
    too high."""
    noise = np.random.default_rng(3)
    lines = []
    for at in range(events):
        high = 40.0 * any(jump <= at < jump + 10 for jump in jumps)
        for stream in streams:
            value = float(noise.normal(20.0, 0.5)) + high
            record = {"id": stream, "time": 1_700_000_000 + 60 * at, "temperature": value}
            lines.append(json.dumps(record).encode())
    return lines


class Deployment:
    """One configuration over new topics, for any number of processes that run it."""

    def __init__(self, bootstrap: str, topic: str, folder: Path, *overrides: str) -> None:
        self.bootstrap, self.topic, self.folder = bootstrap, topic, folder
        self.overrides = [
            f"kafka.bootstrap_servers={bootstrap}",
            f"kafka.group_id={topic}",
            "kafka.session_timeout_seconds=6",
            "kafka.transaction_timeout_seconds=5",
            f"source.topic={topic}",
            "source.poll_seconds=0.05",
            f"sink.alerts_topic={topic}-alerts",
            f"sink.dead_letter_topic={topic}-dead-letters",
            "sink.create_topics=true",
            f"snapshot.topic={topic}-snapshots",
            "snapshot.seconds=1",
            "snapshot.buckets=4",
            "commit.seconds=0.05",
            "detection.grace_events=20",
            "detection.budget.alarms_per_stream_per_day=50",
            'stream.numeric=["temperature"]',
            'stream.key=["id"]',
            "stream.time=time",
            "http.port=0",
            "log.format=json",
            *overrides,
        ]
        self.started = 0

    @property
    def settings(self) -> Settings:
        return load(None, self.overrides, {})

    def start(self, *overrides: str, arguments: Sequence[str] = ()) -> Daemon:
        """Start a daemon. `overrides` are added to the deployment's, `arguments` to its command line."""
        self.started += 1
        return Daemon([*self.overrides, *overrides], self.folder / f"log-{self.started}.jsonl", arguments)

    def command(self, name: str, *arguments: str) -> str:
        """Run another command of the program with this configuration, and return its standard output."""
        words = [sys.executable, "-m", "anomaly_daemon.cli", name, *_set(self.overrides), *arguments]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS).stdout

    def create_topic(self, partitions: int = 1) -> None:
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap)) as admin:
            admin.create_topics([NewTopic(self.topic, partitions, 1)])

    def create_topics(self, partitions: int = 1, **snapshots: str) -> None:
        """Create all four topics, as an administrator would who does not let the daemon create them."""
        self.create_topic(partitions)
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap)) as admin:
            compacted = {"cleanup.policy": "compact"} | snapshots
            admin.create_topics(
                [
                    NewTopic(f"{self.topic}-alerts", partitions, 1),
                    NewTopic(f"{self.topic}-dead-letters", partitions, 1),
                    NewTopic(f"{self.topic}-snapshots", partitions, 1, topic_configs=compacted),
                ]
            )

    def produce(self, lines: Sequence[bytes], partition: int = 0, key: bytes | None = None) -> None:
        with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap)) as producer:
            for line in lines:
                producer.send(self.topic, line, key, partition=partition)
            producer.flush()

    def told(self) -> list[tuple[str, str]]:
        """Return every alert message that a reader of committed records sees, as `by_stream` does."""
        found = [json.loads(value) for value in self._committed(f"{self.topic}-alerts")]
        return by_stream(found)

    def _committed(self, topic: str) -> list[bytes]:
        arguments = {"bootstrap_servers": self.bootstrap, "isolation_level": "read_committed"}
        with closing(KafkaConsumer(proxy_url=PROXY_URL, **arguments, enable_auto_commit=False)) as consumer:
            names = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(names)
            consumer.seek_to_beginning()
            ends = consumer.end_offsets(names)
            values: list[bytes] = []
            while any(consumer.position(name) < ends[name] for name in names):
                for records in consumer.poll(timeout_ms=200).values():
                    values += [record.value for record in records]
            return values

    def committed(self, partition: int = 0) -> int:
        """Return the group's committed offset, 0 where there is none."""
        with closing(
            KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap, group_id=self.topic)
        ) as consumer:
            return int(consumer.committed(TopicPartition(self.topic, partition)) or 0)


def by_stream(alerts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (alert id, event and count) of each message, which identify it, as in its `ce_id`. The messages are sorted
    by partition and stream. The sort is stable, so the order within a stream is kept. It is the only order that exists,
    because alerts are keyed by stream."""
    ordered = sorted(alerts, key=lambda one: (one["provenance"]["partition"], one["stream"]["key"]))
    return [(one["alert_id"], f"{one['event']}{one['episode']['count']}") for one in ordered]


def expected(deployment: Deployment, partitions: dict[int, list[bytes]]) -> list[tuple[str, str]]:
    """Return the messages of one uninterrupted run over the memory transport with the same records, as `by_stream`
    does."""
    broker = MemoryBroker()
    broker.create(deployment.topic, len(partitions))
    for number, lines in partitions.items():
        broker.produce(Partition(deployment.topic, number), [Stored(-1, None, line) for line in lines])
    source = MemorySource(broker, deployment.topic)
    build_worker(deployment.settings, source=source, delivery=MemoryDelivery(broker, source)).run()
    return by_stream([json.loads(record.value or b"") for record in broker.records("anomaly-alerts")])


def _set(overrides: Sequence[str]) -> list[str]:
    return [f"--set={override}" for override in overrides]


class Daemon:
    """One process of `anomaly-daemon run`. Its log is a file of JSON lines."""

    def __init__(self, overrides: Sequence[str], log: Path, arguments: Sequence[str] = ()) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "anomaly_daemon.cli", "run", *_set(overrides), *arguments],
                stderr=stderr,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def lines(self) -> list[dict[str, Any]]:
        whole = [line for line in self._log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [json.loads(line) for line in whole]

    def logged(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self.lines() if line["event"] == event), None)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body from the health server; (0, "") while it does not listen yet or does not answer."""
        listening = self.logged("listening")
        if listening is None:
            assert self.process.poll() is None, self._log.read_text()
            return 0, ""
        try:
            with urlopen(f"http://127.0.0.1:{listening['port']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        return self.get("/ready")[0] == 200

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def log(self) -> str:
        return self._log.read_text()
