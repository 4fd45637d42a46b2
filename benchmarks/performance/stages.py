"""The stages in one process, without a broker: what decoding an event costs, and the whole loop around all stages."""

from __future__ import annotations

from collections.abc import Iterator

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource
from performance.rows import Row, cpu_seconds, shortest
from performance.workload import PACKED_READINGS, batch_of, json_values, packed_values, settings_of, stored

FORMS = {"json": json_values, "packed": packed_values}
STREAMS, POLL = 1000, 10_000


def measure(seconds: float, events: int) -> Iterator[Row]:
    """Yield the rates of decoding alone, then of the whole worker over the memory transport."""
    for form, values_of in FORMS.items():
        for fields in (1, 8):
            settings = settings_of(fields, form)
            batch, decoder = batch_of(values_of(STREAMS, POLL, fields)), Decoder(settings.stream, settings.limits)
            best = shortest({form: lambda d=decoder, b=batch: d.decode(b)}, seconds)[form]
            yield Row("decode", f"{form}, {fields} fields", "events_per_second", POLL / best)
    for form in FORMS:
        for fields in (1, 8):
            yield Row("worker", f"{form}, {fields} fields", "events_per_cpu_second", _worker(form, fields, events))


def _worker(form: str, fields: int, events: int) -> float:
    broker = MemoryBroker()
    (partition,) = broker.create("in")
    broker.produce(partition, stored(FORMS[form](STREAMS, events, fields)))
    source = MemorySource(broker, "in", max_records=POLL if form == "json" else POLL // PACKED_READINGS)
    worker = build_worker(
        settings_of(fields, form),
        source=source,
        delivery=MemoryDelivery(broker, source),
        snapshots=MemorySnapshots(broker),
        idle_timers=False,
    )
    return events / cpu_seconds(worker.run)
