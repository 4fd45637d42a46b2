"""Another model while the loop runs, partition by partition, each at a committed offset.

Nothing is pending there, so every event below it was scored, and told of, by the model before, and every event from it on
is by the next. The ledger says so in the first commit that carries anything of the next one (where a commit is not atomic:
in an announcement, before the first record counts). Whoever dies in between is replaced by a member that finds the
ledger as it was, and what it has not committed is scored anew: see `daemon.takeover`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.regimes import Detectors
from anomaly_daemon.detection.alert import ModelRef


@dataclass(frozen=True, slots=True)
class Deciding:
    """What decides, for every partition that is taken over or changes over from now on."""

    detectors: Detectors
    make: Make
    ref: ModelRef | None = None
    """The model, for the metrics."""


class Watches(Protocol):
    """Looks for another model beside the loop; see `daemon.watch`."""

    @property
    def ready(self) -> Deciding | None:
        """The newest one that may take over; None before there is any."""

    def start(self) -> None: ...
    def close(self) -> None: ...
    def beside(self, live: Sequence[Owned], deciding: Deciding) -> None:
        """Let the loop's partitions, as they stand between two batches, be followed by another model; see `shadow`."""


class Succession:
    """Which model decides about each partition. The loop's alone."""

    def __init__(
        self,
        deciding: Deciding,
        watch: Watches | None,
        monotonic: Callable[[], float],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self.deciding, self._watch = deciding, watch
        self._monotonic, self._metrics, self._log = monotonic, metrics, log

    def start(self) -> None:
        """Begin to look for other models."""
        if self._watch is not None:
            self._watch.start()

    def close(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.close()

    def take_over(self, live: Sequence[Owned], announce: Callable[[Owned], None]) -> None:
        """Let the model that decides by now take over those of these partitions that stand where it may."""
        ready = self._watch.ready if self._watch is not None else None
        if ready is not None and ready is not self.deciding:
            self.deciding = ready
            if ready.ref is not None:
                name, version, digest = ready.ref.name, ready.ref.version, ready.ref.digest
                self._metrics.only("model_info", name=name, version=version, digest=digest)
        for owned in live:
            if owned.make.model != self.deciding.make.model and owned.settled:
                self._change_over(owned)
                announce(owned)
        if self._watch is not None:
            self._watch.beside(live, self.deciding)

    def _change_over(self, owned: Owned) -> None:
        began, detectors = self._monotonic(), self.deciding.detectors
        owned.succeed(detectors.ours(owned.partition), self.deciding.make, detectors.regime, detectors.artifact)
        seconds, name = self._monotonic() - began, f"{owned.partition.topic}-{owned.partition.partition}"
        self._metrics.count("model_changes_total")
        self._metrics.observe("model_change_seconds", seconds)
        told = {"since": owned.position, "streams": owned.detector.streams, "seconds": round(seconds, 3)}
        self._log.info("another model decides from here on", partition=name, model=owned.make.model[:12], **told)
