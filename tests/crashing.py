"""A worker over the memory transport that can be made to die at any call of its ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import running_sum
import structlog

from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.daemon.commit import Outbox
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.policy import Clocks, CommitPolicy, Policies, SnapshotPolicy
from anomaly_daemon.daemon.succession import Watches
from anomaly_daemon.daemon.worker import Observer, Ports, Worker
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored
from anomaly_daemon.transport.ports import Commit, Partition

TOPIC = "readings"
BUCKETS = 3
POLICIES = Policies(commit=CommitPolicy(0.5, 6), snapshot=SnapshotPolicy(3.0, BUCKETS), stop_seconds=5.0)


class Death(BaseException):
    """Simulates the death of the process: no code after it runs."""


@dataclass
class Fate:
    """Raises `Death` when it is called for the `at`th time, and every time after that; never if `at` is None. The ports
    of a life call it before and after each of their calls."""

    at: int | None = None
    calls: int = 0
    dead: bool = False

    def __call__(self, _name: str = "") -> None:
        self.calls += 1
        if self.dead or self.calls == self.at:
            self.dead = True
            raise Death


class Mortal:
    """Wraps any port, and calls the fate before and after each call of the port except `close`."""

    def __init__(self, port: Any, fate: Fate) -> None:
        self._port, self._fate = port, fate

    def __getattr__(self, name: str) -> Callable[..., Any]:
        called = getattr(self._port, name)

        def call(*args: Any) -> Any:
            self._fate(name)
            result = called(*args)
            self._fate(name)
            return result

        return call if name != "close" else called


@dataclass
class Clock:
    """A monotonic clock that advances by a fixed step each time it is read."""

    step: float = 0.05
    now: float = 1000.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@dataclass
class Life:
    """One start of the daemon, and the parts of it that tests look at."""

    worker: Worker
    source: MemorySource
    fate: Fate
    detectors: dict[Partition, running_sum.RunningSum] = field(default_factory=dict)


def life(
    broker: MemoryBroker,
    fate: Fate | None = None,
    *,
    max_records: int = 2,
    policies: Policies = POLICIES,
    make: Make = running_sum.MAKE,
    limit: float = running_sum.LIMIT,
    clock: Clock | None = None,
    partitions: Sequence[int] | None = None,
    snapshots: bool = True,
    atomic: bool = True,
    finite: bool = True,
    wait: Callable[[float], None] = lambda seconds: None,
    observers: Sequence[Observer] = (),
    aside: bool = False,
    watch: Watches | None = None,
) -> Life:
    fate = fate or Fate()
    detectors = running_sum.RunningSums(make.model, limit)
    source = MemorySource(broker, TOPIC, max_records=max_records, partitions=partitions, finite=finite)
    delivery = MemoryDelivery(broker, source, before=fate, atomic=atomic)
    store = Mortal(MemorySnapshots(broker), fate) if snapshots else None
    worker = Worker(
        Ports(Mortal(source, fate), delivery, store, atomic, aside),
        running_sum.PlainDecoder(),
        detectors,
        make,
        Outbox("test", running_sum.encode, lambda: 0.0),
        policies,
        Clocks(clock or Clock(), lambda: 0.0, wait),
        Metrics(),
        structlog.wrap_logger(structlog.ReturnLogger(), processors=[]),
        observers,
        watch,
    )
    return Life(worker, source, fate, detectors.made)


def fill(broker: MemoryBroker, records: Sequence[tuple[str, int]], partitions: int, first: int = 0) -> None:
    """Append records (stream, value) to the topic, each stream to one partition. A value below 0 becomes text that is
    no number."""
    names = broker.create(TOPIC, partitions)
    for time, (stream, value) in enumerate(records, first):
        text = b"?" if value < 0 else str(value).encode()
        broker.produce(names[len(stream) % partitions], [Stored(time, stream.encode(), text)])


def alerts(broker: MemoryBroker) -> list[str]:
    """The text of every alert on the topic, in the order of each input partition."""
    told = [(record.value or b"").decode() for record in broker.records("anomaly-alerts")]
    return sorted(told, key=lambda text: text.split("-")[1])


def dead_letters(broker: MemoryBroker) -> list[bytes]:
    return sorted(dict(record.headers)["dead_letter_offset"] for record in broker.records("anomaly-dead-letters"))


def states(one: Life) -> dict[Partition, dict[str, list[int]]]:
    return {partition: detector.state for partition, detector in one.detectors.items()}  # type: ignore[attr-defined]


ZERO = Partition(TOPIC, 0)
RECORDS = [("a", 1), ("b", 150), ("a", 2), ("b", 3), ("cc", 101)]
ENDLESS = replace(POLICIES, poll_seconds=0.001)


@dataclass
class Weather:
    """Raises the next of the exceptions in `raising` at each attempt to deliver, and records the commits that were
    attempted."""

    raising: list[Exception] = field(default_factory=list)
    attempts: list[Commit] = field(default_factory=list)

    def over(self, one: Life) -> Life:
        inner = one.worker._ports.delivery.deliver

        def deliver(commit: Commit) -> None:
            self.attempts.append(commit)
            if self.raising:
                raise self.raising.pop(0)
            inner(commit)

        one.worker._ports.delivery.deliver = deliver  # type: ignore[method-assign]
        return one


def filled(records: list[tuple[str, int]] = RECORDS, partitions: int = 1) -> MemoryBroker:
    broker = MemoryBroker()
    fill(broker, records, partitions)
    return broker


def ran(broker: MemoryBroker, **options: object) -> Life:
    one = life(broker, **options)  # type: ignore[arg-type]
    one.worker.run()
    return one


def turned(one: Life, turns: int = 3) -> Life:
    one.worker.start()
    for _ in range(turns):
        one.worker.turn()
    return one


def alerts_of(records: list[tuple[str, int]]) -> list[str]:
    broker = filled(records)
    ran(broker)
    return alerts(broker)
