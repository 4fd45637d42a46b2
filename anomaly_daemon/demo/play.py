"""Runs generated records through the daemon's own worker, with everything but the broker as in production."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.daemon.intake import Observer
from anomaly_daemon.demo.generator import Generated
from anomaly_daemon.demo.scoring import Outcome, outcome
from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.report.episodes import EpisodeBook
from anomaly_daemon.report.listening import Listening
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored

BATCH = 2000
"""Records in one poll: few enough that the first alert is seen early, and enough to fill the network's step."""


@dataclass(frozen=True, slots=True)
class Played:
    """What the demo of one deployment gave."""

    generated: Generated
    book: EpisodeBook
    outcome: Outcome
    rejected: int
    seconds: float
    """Wall time of the detection."""

    @property
    def events_per_second(self) -> float:
        return len(self.generated.records) / self.seconds if self.seconds else 0.0


def play(
    settings: Settings,
    generated: Generated,
    on_alert: Callable[[Alert], None],
    observers: Sequence[Observer] = (),
    progress: Callable[[int], None] | None = None,
) -> Played:
    """Detect over the memory transport; `on_alert` is called with every alert as it is committed."""
    broker, book = MemoryBroker(), EpisodeBook()
    topic = settings.source.topic or settings.name
    (partition,) = broker.create(topic, 1)
    broker.produce(partition, [Stored(*record) for record in generated.records])

    def note(alert: Alert) -> None:
        book.add(alert)
        on_alert(alert)

    source = MemorySource(broker, topic, max_records=BATCH)
    sink = settings.sink
    inner = MemoryDelivery(broker, source, alerts_topic=sink.alerts_topic, dead_letter_topic=sink.dead_letter_topic)
    delivery = Listening(note, inner)
    worker = build_worker(
        settings,
        source=source,
        delivery=delivery,
        snapshots=MemorySnapshots(broker),
        observers=observers,
        progress=progress,
    )
    began = time.perf_counter()
    worker.run()
    seconds = time.perf_counter() - began
    result = outcome(generated, book.episodes, settings.detection.budget.alarms_per_stream_per_day)
    return Played(generated, book, result, delivery.dead_letters, seconds)
