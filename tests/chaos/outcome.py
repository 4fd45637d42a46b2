"""The outcome of a run, the expected outcome, and the difference between them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.checkpoint.ledger import find_ledger
from anomaly_daemon.checkpoint.snapshot import take_buckets
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.kafka.snapshots import KafkaSnapshots
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored
from anomaly_daemon.transport.ports import Partition, SnapshotStore
from chaos.deployment import Deployment
from chaos.records import Record

PROMISED = ("position", "floors", "watermarks", "held", "unreported")
"""The fields of the ledger that are compared, for a partition whose member stopped in an orderly way."""
CLOCKS = ("detected", "published")
"""The times of an alert that depend on a clock. Everything else in an alert has to be the same."""

State = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`messages` in their order: alerts by stream, dead letters by input partition. `state`: arrays by ledger or stream
    row."""

    messages: Mapping[str, Sequence[str]]
    state: Mapping[str, State]

    @property
    def count(self) -> int:
        return sum(len(texts) for texts in self.messages.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """The differences between two outcomes. A message with other content counts as one lost and one doubled, and so
    does each message that is out of order."""

    lost: int
    doubled: int
    state_differences: int
    first: tuple[str, ...]
    """The differences themselves, as text for people."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.state_differences)


def uninterrupted(deployment: Deployment, records: Iterable[Record]) -> Outcome:
    """Return the outcome of one uninterrupted run over the memory transport with the same records."""
    broker, settings = MemoryBroker(), deployment.settings
    partitions = broker.create(deployment.topic, deployment.partitions)
    for record in records:
        broker.produce(partitions[record.partition], [Stored(1000 * record.milliseconds, None, record.value)])
    source, store = MemorySource(broker, deployment.topic), MemorySnapshots(broker)
    build_worker(settings, source=source, delivery=MemoryDelivery(broker, source), snapshots=store).run()
    messages = _messages(broker.records("anomaly-alerts"), broker.records("anomaly-dead-letters"))
    return Outcome(messages, _state(settings, store, partitions))


def left_behind(deployment: Deployment) -> Outcome:
    """Return what a reader of committed records finds after every member has stopped in an orderly way."""
    settings = deployment.settings
    store = KafkaSnapshots(settings.kafka, settings.snapshot)
    try:
        state = _state(settings, store, deployment.input)
    finally:
        store.close()
    return Outcome(_messages(deployment.read(deployment.alerts), deployment.read(deployment.dead_letters)), state)


def compare(expected: Outcome, found: Outcome) -> Verdict:
    lost = doubled = 0
    first: list[str] = []
    for stream in sorted(expected.messages.keys() | found.messages.keys()):
        wanted, had = expected.messages.get(stream, ()), found.messages.get(stream, ())
        missing, spare = Counter(wanted) - Counter(had), Counter(had) - Counter(wanted)
        moved = sum(a != b for a, b in zip_longest(wanted, had)) if not (missing or spare) else 0
        lost, doubled = lost + missing.total() + moved, doubled + spare.total() + moved
        first += [*(f"lost: {text}" for text in missing), *(f"doubled: {text}" for text in spare)]
        first += [f"out of order: {stream}"] if moved else []
    differing = [
        f"state differs: {whose}: {difference}"
        for whose in sorted(expected.state.keys() | found.state.keys())
        if (difference := _difference(expected.state.get(whose), found.state.get(whose)))
    ]
    return Verdict(lost, doubled, len(differing), (*first, *differing))


def _difference(wanted: State | None, had: State | None) -> str:
    """Describe the difference, compared to the last bit; empty if there is none."""
    if wanted is None or had is None:
        return "should be there" if had is None else "should not be there"
    return "; ".join(
        f"{name} is {had[name].tolist()} instead of {array.tolist()}"
        for name, array in sorted(wanted.items())
        if array.tobytes() != had[name].tobytes()
    )


def _messages(alerts: Iterable[Any], dead_letters: Iterable[Any]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for record in alerts:
        alert = json.loads(record.value)
        alert["times"] = {name: time for name, time in alert["times"].items() if name not in CLOCKS}
        found[f"stream {alert['stream']['key']}"].append(json.dumps(alert, sort_keys=True))
    for record in dead_letters:
        origin = {name: text.decode() for name, text in record.headers if name.startswith("dead_letter_")}
        where = f"dead letters of partition {origin['dead_letter_partition']}"
        found[where].append(json.dumps([origin, record.value.decode()], sort_keys=True))
        found[where].sort()  # without a key they go to any partition, so their order is not guaranteed
    return dict(found)


def _state(settings: Settings, store: SnapshotStore, partitions: Iterable[Partition]) -> dict[str, State]:
    return {whose: arrays for partition in partitions for whose, arrays in _stored(settings, store, partition)}


def _stored(settings: Settings, store: SnapshotStore, partition: Partition) -> Iterator[tuple[str, State]]:
    """Yield the compared fields of the ledger, and the row of every stream. The time at which a bucket was last written
    differs from run to run and is not compared."""
    stored = store.load(partition)
    ledger = find_ledger(stored)
    assert ledger is not None
    promised = {name: np.array(getattr(ledger, name)) for name in PROMISED}
    yield f"ledger of partition {partition.partition}", promised
    for bucket in take_buckets(dict(stored), settings.snapshot.buckets):
        for row, key in enumerate(bucket.state.keys):
            where = f"bucket {bucket.bucket} of partition {partition.partition}"
            yield f"row of stream {key} in {where}", {name: array[row] for name, array in bucket.state.arrays.items()}
