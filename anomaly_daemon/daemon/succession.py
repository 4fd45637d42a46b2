"""Switches to another model while the loop runs, partition by partition, each at a committed offset.

Nothing is pending at that offset. So every event below it was scored and reported by the previous model, and every
event from it on is by the next. The ledger says so in the first commit that carries anything of the next model (where a
commit is not atomic, in an announcement before the first record counts). If this member dies in between, its successor
finds the ledger unchanged, and what was not committed is scored again: see `daemon.takeover`.
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
    """What decides about every partition that is taken over, or switched to another model, from now on."""

    detectors: Detectors
    make: Make
    ref: ModelRef | None = None
    """The model as the metrics name it."""


class Watches(Protocol):
    """Follows the model that is to decide, beside the loop; see `daemon.watch`."""

    @property
    def ready(self) -> Deciding | None:
        """The newest model that may take over; None before there is one."""

    def start(self) -> None: ...
    def close(self) -> None: ...
    def beside(self, live: Sequence[Owned], deciding: Deciding) -> None:
        """Let another model follow the loop's partitions, between two batches; see `shadow`."""


class Succession:
    """Keeps which model decides, and switches partitions to it. Used by the loop's thread only."""

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
        """Stop looking for other models."""
        if self._watch is not None:
            self._watch.close()

    def take_over(self, live: Sequence[Owned], announce: Callable[[Owned], None]) -> None:
        """Let the newest model take over those of these live partitions that are at a place where it may
        (`Owned.settled`). `announce` is called with each of them."""
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
        figures = {"since": owned.position, "streams": owned.detector.streams, "seconds": round(seconds, 3)}
        self._log.info("switched to another model", partition=name, model=owned.make.model[:12], **figures)
