"""Starts, feeds, watches and stops daemons as separate processes on a local broker, for the benchmarks."""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from anomaly_daemon.transport.kafka.sockets import PROXY_URL

BROKER_SCRIPT = Path(__file__).parents[1] / "deploy" / "local-kafka" / "broker.py"
PATIENCE_SECONDS = 300.0
Broker = Any


@contextmanager
def local_broker() -> Iterator[Broker]:
    """Start Apache Kafka on loopback for this run only. Raises SystemExit where Java or Maven is missing."""
    sys.path.append(str(BROKER_SCRIPT.parent))
    script = importlib.import_module("broker")
    if lack := script.missing():
        raise SystemExit(f"a local broker needs Java 17 and Maven; {lack}")
    with script.Broker() as broker:
        yield broker


def until(what: str, happened: Callable[[], Any]) -> Any:
    """Call `happened` until it returns a true value, and return that value. Raises SystemExit after `PATIENCE_SECONDS`;
    `what` names in its message what was waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.02)
    raise SystemExit(f"waited {PATIENCE_SECONDS:g} s for {what}")


class Deployment:
    """One configuration over fresh topics, and the daemons and producers that use it."""

    def __init__(self, broker: Broker, folder: Path, *overrides: str, partitions: int) -> None:
        self.bootstrap, self.name = broker.bootstrap, f"bench-{uuid4().hex[:8]}"
        self.partitions = [TopicPartition(self.name, number) for number in range(partitions)]
        self._logs = (folder / f"{self.name}-{number}.jsonl" for number in count())
        self._overrides = [
            f"kafka.bootstrap_servers={self.bootstrap}", f"kafka.group_id={self.name}",
            "kafka.session_timeout_seconds=6", "kafka.transaction_timeout_seconds=5",
            f"source.topic={self.name}", "stream.numeric=[\"v\"]", "stream.key=[\"id\"]", "stream.time=time",
            f"sink.alerts_topic={self.name}-alerts", f"sink.dead_letter_topic={self.name}-dead",
            "sink.create_topics=true", f"snapshot.topic={self.name}-snapshots", "http.port=0", "log.format=json",
            "detection.silence.enabled=false", "limits.alerts_per_minute=1000000", *overrides,
        ]  # fmt: skip
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap)) as admin:
            appended = {"message.timestamp.type": "LogAppendTime"}
            admin.create_topics([NewTopic(self.name, partitions, 1, topic_configs=appended)])
        self._reader = KafkaConsumer(
            proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap, group_id=self.name, enable_auto_commit=False
        )

    @contextmanager
    def daemon(self, *overrides: str) -> Iterator[Daemon]:
        one = Daemon([*self._overrides, *overrides], next(self._logs))
        try:
            yield one
        finally:
            one.kill()

    @contextmanager
    def producer(self) -> Iterator[Callable[[int, bytes], None]]:
        with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap, linger_ms=5)) as producer:
            yield lambda partition, value: producer.send(self.name, value, partition=partition) and None
            producer.flush()

    def produce(self, records: Sequence[tuple[int, bytes]]) -> None:
        with self.producer() as send:
            for partition, value in records:
                send(partition, value)

    def committed(self) -> list[int]:
        """The group's committed offset of each partition, 0 where there is none."""
        return [int(self._reader.committed(name) or 0) for name in self.partitions]

    def wait_committed(self, records: int) -> None:
        until(f"{records} records to be committed", lambda: sum(self.committed()) >= records)

    def _stored(self) -> dict[tuple[int, bytes], int]:
        """The size in bytes of the newest snapshot value of each key, by (partition, key)."""
        topic = f"{self.name}-snapshots"
        sizes: dict[tuple[int, bytes], int] = {}
        with closing(
            KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap, isolation_level="read_committed")
        ) as reader:
            names = [TopicPartition(topic, number) for number in range(len(self.partitions))]
            reader.assign(names)
            reader.seek_to_beginning(*names)
            ends = reader.end_offsets(names)
            while any(reader.position(name) < ends[name] for name in names):
                for name, records in reader.poll(timeout_ms=200).items():
                    sizes |= {(name.partition, record.key): len(record.value or b"") for record in records}
        return sizes

    def stored_bytes(self) -> float:
        """The bytes of stored state that a take-over of all partitions reads."""
        return float(sum(self._stored().values()))

    def stored_bytes_of_buckets(self) -> float:
        """The stored bytes of the buckets of streams alone, without ledgers and models."""
        return float(sum(size for (_, key), size in self._stored().items() if key.startswith(b"bucket")))

    @contextmanager
    def flow(self, rate: float) -> Iterator[Flow]:
        flow = Flow(self, rate)
        try:
            yield flow
        finally:
            flow.close()


class Daemon:
    """One process of `anomaly-daemon run`. Its log is a file of JSON lines."""

    def __init__(self, overrides: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "anomaly_daemon.cli", "run", *(f"--set={one}" for one in overrides)],
                stderr=stderr, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def lines(self) -> list[dict[str, Any]]:
        whole = self._log.read_text().splitlines()
        return [json.loads(line) for line in whole if line.startswith("{") and line.endswith("}")]

    def logged(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        """The log lines with this event, or an empty list while there are fewer than `times`. Raises SystemExit if the
        process has failed."""
        found = [line for line in self.lines() if line["event"] == event]
        if self.process.poll() not in (None, 0):
            raise SystemExit(f"the daemon ended with {self.process.returncode}:\n{self._log.read_text()[-2000:]}")
        return found if len(found) >= times else []

    def wait(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        return list(until(event, lambda: self.logged(event, times)))

    def metrics(self) -> str:
        port = self.wait("listening")[0]["port"]
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def cpu_seconds(self) -> float:
        """User and system time of the process so far, including its start-up."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def take_over_seconds(self, partitions: int) -> float:
        """Return the seconds from the assignment until every partition is live."""
        self.wait("partition taken over", partitions)
        until("it to be ready", lambda: self.metric("anomaly_daemon_ready") == 1.0)
        ready, assigned = time.time(), self.wait("partition assignment changed")[0]["timestamp"]
        return ready - datetime.fromisoformat(assigned).timestamp()

    def told_of(self, since: float) -> set[int]:
        """The numbers of the partitions that the log reports as assigned, revoked or lost since `since` (epoch
        seconds)."""
        lines = [line for line in self.lines() if line["event"] == "partition assignment changed"]
        late = [line for line in lines if datetime.fromisoformat(line["timestamp"]).timestamp() >= since]
        return {int(name.rsplit("-", 1)[1]) for line in late for name in line["partitions"]}

    def replayed(self) -> float:
        return float(sum(line["live_from"] - line["position"] for line in self.logged("partition taken over")))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Flow:
    """Sends a steady flow of records to every partition, and measures for how long the group's committed offsets stand
    still."""

    def __init__(self, deployment: Deployment, rate: float) -> None:
        self._deployment, self._rate, self._over = deployment, rate, threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        began, sent, partitions = time.monotonic(), 0, len(self._deployment.partitions)
        with self._deployment.producer() as send:
            while not self._over.wait(0.02):
                while sent < (time.monotonic() - began) * self._rate:
                    stream = sent % 60
                    value = json.dumps({"id": f"s{stream}", "time": 1_700_000_000 + sent, "v": 20.0 + sent % 7})
                    send(stream % partitions, value.encode())
                    sent += 1

    def settle(self) -> None:
        """Wait until the committed offset of every partition has moved on, and 3 more seconds."""
        before = self._deployment.committed()
        pairs = lambda: zip(before, self._deployment.committed(), strict=True)  # noqa: E731
        until("every partition to flow", lambda: all(after > first for first, after in pairs()))
        time.sleep(3.0)

    def after(self, seconds: float) -> Callable[[], bool]:
        deadline = time.monotonic() + seconds
        return lambda: time.monotonic() > deadline

    def longest(self, members: Sequence[Daemon], until: Callable[[], Any]) -> float:
        """Return the longest time, in seconds, for which the committed offset of a partition stood still, until `until`
        is true and 3 more seconds. Partitions that the log of any of `members` reports as moved are excluded; NaN if no
        other is left."""
        began, offsets, extra = time.time(), self._deployment.committed(), None
        moved = dict.fromkeys(range(len(offsets)), time.monotonic())
        longest = dict.fromkeys(moved, 0.0)
        while extra is None or time.monotonic() < extra:
            time.sleep(0.01)
            now, fresh = time.monotonic(), self._deployment.committed()
            if extra is None and until():
                extra = now + 3.0
            for number, (before, after) in enumerate(zip(offsets, fresh, strict=True)):
                longest[number] = max(longest[number], now - moved[number])
                moved[number] = now if after > before else moved[number]
            offsets = fresh
        named = {number for member in members for number in member.told_of(since=began)}
        return max((stop for number, stop in longest.items() if number not in named), default=math.nan)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def subscriber(deployment: Deployment) -> Iterator[Callable[..., list[tuple[float, ...]]]]:
    """Read committed alerts in a separate process. Yields a function that ends the reading and returns four epoch
    seconds for each alert that opened an episode: the append of its record, its detection, its publishing, and its
    arrival here. The function excludes alerts whose record was appended before its argument `since`."""
    spawn = multiprocessing.get_context("spawn")
    heard, over = spawn.Queue(), spawn.Event()
    process = spawn.Process(target=_listen, args=(deployment.bootstrap, f"{deployment.name}-alerts", heard, over))
    process.start()

    def moments(since: float) -> list[tuple[float, ...]]:
        over.set()
        return [one for one in iter(heard.get, None) if one[0] >= since]

    yield moments
    over.set()
    process.join()


def _listen(bootstrap: str, topic: str, heard: Any, over: Any) -> None:
    name = TopicPartition(topic, 0)
    options = {"isolation_level": "read_committed", "fetch_max_wait_ms": 5, "enable_auto_commit": False}
    with closing(KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=bootstrap, **options)) as reader:
        until("the alerts topic", lambda: reader.partitions_for_topic(topic))
        reader.assign([name])
        reader.seek_to_beginning(name)
        while not over.is_set():
            for records in reader.poll(timeout_ms=20).values():
                arrived = time.time()
                for alert in (json.loads(record.value) for record in records):
                    if alert["event"] == "open":
                        times = [alert["times"][name] for name in ("append", "detected", "published")]
                        heard.put((*(datetime.fromisoformat(text).timestamp() for text in times), arrived))
    heard.put(None)


def quantiles(metrics: str, name: str, shares: Sequence[float]) -> dict[str, float]:
    """Return quantiles of a Prometheus histogram, by linear interpolation within a bucket."""
    found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$', metrics, re.MULTILINE)
    edges = [(float(edge.replace("+Inf", "inf")), float(below)) for edge, below in found]
    total, out = edges[-1][1], {}
    for share in shares:
        low = below_low = 0.0
        for edge, below in edges:
            if below >= share * total and below > below_low:
                inside = (share * total - below_low) / (below - below_low)
                out[f"p{share * 100:g}"] = low if edge == float("inf") else low + inside * (edge - low)
                break
            low, below_low = edge, below
    return out
