"""Episodes published over the memory transport, and their partition to read again, for the tests of `replay`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.configuration import load
from anomaly_daemon.replay.episode import Replayed, replay
from anomaly_daemon.replay.recorded import Published, Recorded, find
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySource, Stored
from anomaly_daemon.transport.ports import Partition, RecordBatch

TOPIC, ALERTS = "readings", "anomaly-alerts"
ZERO = Partition(TOPIC, 0)
START = 1_700_000_000
OVERRIDES = (
    f"source.topic={TOPIC}",
    'stream.key=["id"]',
    "stream.time=time",
    'stream.numeric=["temperature", "flow"]',
    "detection.grace_events=20",
    "detection.budget.alarms_per_stream_per_day=20",
    "detection.stuck.minimum=10",
)


def settings(*overrides: str) -> Settings:
    return load(None, [*OVERRIDES, *overrides], {})


def troubled(events: int = 260) -> list[dict[str, Any]]:
    """A reading a minute of four streams, each with one fault: a jump, a silence, a stuck value, or a field that
    vanishes."""
    noise = np.random.default_rng(11)
    records = []
    for at in range(events):
        for stream in ("jumps", "stops", "sticks", "loses"):
            flow = 5 + float(np.sin(at / 20)) + float(noise.normal(0, 0.1))
            temperature = 20 + float(noise.normal(0, 0.5)) + 30 * (stream == "jumps" and 120 <= at < 128)
            record = {"id": stream, "time": START + 60 * at, "temperature": temperature, "flow": flow}
            if stream == "sticks" and 130 <= at < 200:
                record["flow"] = 5.0
            if stream == "loses" and 140 <= at < 170:
                del record["flow"]
            if not (stream == "stops" and 150 <= at < 200):
                records.append(record)
    return records


def stored(records: Sequence[dict[str, Any]]) -> list[Stored]:
    return [Stored((START + at) * 1_000_000, None, json.dumps(record).encode()) for at, record in enumerate(records)]


@dataclass(frozen=True)
class MemoryRecords:
    """A `replay.records.Records` over a memory topic."""

    broker: MemoryBroker
    partition: Partition = ZERO

    def beginning(self) -> int:
        return self.broker.beginnings.get(self.partition, 0)

    def read(self, start: int, end: int) -> Iterator[RecordBatch]:
        while start < end and (batch := self.broker.read(self.partition, start, min(97, end - start))) is not None:
            yield batch
            start = batch.next_offset


def ran(records: Sequence[Stored], *overrides: str, batch: int = 10_000) -> MemoryBroker:
    """Return the broker after one uninterrupted run. It holds the alerts."""
    broker = MemoryBroker()
    broker.create(TOPIC)
    broker.produce(ZERO, records)
    source = MemorySource(broker, TOPIC, max_records=batch)
    build_worker(settings(*overrides), source=source, delivery=MemoryDelivery(broker, source)).run()
    return broker


@cache
def told() -> MemoryBroker:
    """The broker after one run over `troubled`, shared by the tests that only read it."""
    return ran(stored(troubled()))


def published(broker: MemoryBroker) -> list[Published]:
    return [(record.value or b"", record.headers) for record in broker.records(ALERTS)]


def ids(broker: MemoryBroker, **wanted: str) -> list[str]:
    """The ids of the alerts whose fields have these values."""
    values = [json.loads(value) for value, _ in published(broker)]
    return list(dict.fromkeys(one["alert_id"] for one in values if wanted.items() <= one.items()))


def recorded(broker: MemoryBroker, alert_id: str) -> Recorded:
    found = find(alert_id, published(broker))
    assert found is not None
    return found


def replayed(
    broker: MemoryBroker, alert_id: str, *overrides: str, records: MemoryBroker | None = None, **changes: Any
) -> Replayed:
    told, configured = changes.get("recorded") or recorded(broker, alert_id), settings(*overrides)
    model = read_model(configured.model.path)
    return replay(configured, model, told, MemoryRecords(records or broker), after=changes.get("after", False))


def tampered(change: Callable[[dict[str, Any]], None], at: int) -> MemoryBroker:
    """Return a broker with a copy of the records in which record number `at` was changed."""
    records = troubled()
    change(records[at])
    broker = MemoryBroker()
    broker.create(TOPIC)
    broker.produce(ZERO, stored(records))
    return broker
