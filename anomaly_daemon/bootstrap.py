"""The only wiring: settings in, a worker out. Every command that detects goes through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anomaly_daemon.daemon.policy import Clocks
from anomaly_daemon.daemon.worker import Observer, Worker
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.ports import Delivery, SnapshotStore, Source


def build_worker(
    settings: Settings,
    *,
    source: Source | None = None,
    delivery: Delivery | None = None,
    snapshots: SnapshotStore | None = None,
    observers: Sequence[Observer] = (),
    progress: Callable[[int], None] | None = None,
    model: Model | None = None,
    clocks: Clocks = Clocks(),  # noqa: B008 - frozen
    idle_timers: bool | None = None,
) -> Worker:
    """The worker of these settings.

    Transports are made from the settings unless passed in (memory transports always are). `observers` see every
    live observation with its scores: `Callable[[Observations, Step], None]`. `progress` is told how many records
    were taken since it was last told. `idle_timers` is by default on for Kafka and off for finite sources.
    """
    raise NotImplementedError
