"""The loop: poll, detect, deliver. Everything it decides about a stream comes from records; clocks only say when to write.

Theory of operation
-------------------
*What one commit makes visible.* Alerts, dead letters, input positions, and for each partition the ledger and the
buckets of stream state whose turn it is: one atomic value (law L6). The state in memory runs ahead of what is
committed; whatever dies in between is rebuilt by replaying the same records, silently, up to the committed position.

*Where a bucket stands.* A bucket is written when its turn comes, once in `snapshot.seconds`, if it changed. The ledger
says for every bucket from which offset on its events have to be replayed (see `checkpoint.snapshot.Ledger`).

*Silent, then live.* A batch is cut at the committed position C. Alerts of the part below C were delivered by an earlier
life, or will never be; those of the part from C on are ours. The cut goes by the record that was being read when an
alert arose, not by the records the alert stands on: a silence may arise long after its stream's last record.

*Idle timers.* Event time stands still when a partition gets no records, and a wholly silent partition would never raise
its silence. So when a partition of an endless source is caught up and has no record, its event time goes on by the
monotonic time since its last record. This is the one input that a replay does not repeat; therefore a commit with such
an alert carries every changed bucket, so that the state that raised it is never rebuilt without it. A restart starts
that count anew: time during which the daemon was down does not count as silence. A producer that uploads in bulk, with
pauses longer than its streams' cadence, should switch `detection.silence` off.

*Threads.* The loop owns everything. `_lock` is held while partitions are changed, and while a commit is delivered; it is
never held during a call to the source, whose thread may be waiting for it in `revoked`. `assigned` and `lost` only
queue what happened. `revoked` takes the lock, bounded by the stop deadline, because what is pending must be visible
before it returns; if it cannot have the lock, the partition counts as lost: nothing of it was committed, so its next
owner repeats it. Other threads call `stop`, and read `progress` and `last_turn`, which are single assignments.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.daemon.commit import Outbox, Prepared
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Detects, Owned, cut, take_over
from anomaly_daemon.daemon.policy import Clocks, Policies
from anomaly_daemon.daemon.takeover import Found, Outcome, TakeOver, plan
from anomaly_daemon.detection.detector import Step
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.errors import DaemonError, Unavailable
from anomaly_daemon.transport.codec import Decoded
from anomaly_daemon.transport.ports import Delivery, Partition, RecordBatch, SnapshotStore, Source

T = TypeVar("T")
Observer = Callable[[Observations, Step], None]

GAUGE_SECONDS = 1.0
"""Between two looks at the lag, and at the gauges."""
EVICT_SECONDS = 60.0
"""Between two searches for streams to drop; each goes over every stream."""
FLUSH_BUCKETS = 8
"""Buckets in one commit of a flush: a hand-over must make progress, and then stop at its deadline."""


class Decodes(Protocol):
    def decode(self, batch: RecordBatch) -> Decoded: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The transport of one worker. Without a snapshot store every run starts anew at the committed position."""

    source: Source
    delivery: Delivery
    snapshots: SnapshotStore | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the loop stands, for /ready and for people."""

    joined: bool = False
    running: int = 0
    restoring: int = 0
    records_left: int = 0
    """Still to be replayed."""

    @property
    def ready(self) -> bool:
        """Assigned and restored. A member that the group gave no partition is ready too: it stands by."""
        return self.joined and not self.restoring


class Worker:
    """One member of the group: takes partitions over, detects, delivers. `run` is the whole life."""

    def __init__(
        self,
        ports: Ports,
        decoder: Decodes,
        detectors: Callable[[Partition], Detects],
        make: Make,
        outbox: Outbox,
        policies: Policies,
        clocks: Clocks,
        metrics: Metrics,
        log: FilteringBoundLogger,
        observers: Sequence[Observer] = (),
    ) -> None:
        """`observers` see every live observation with its scores; they must not keep the loop waiting."""
        self._ports, self._decoder, self._detectors, self._make = ports, decoder, detectors, make
        self._outbox, self._policies, self._clocks = outbox, policies, clocks
        self.metrics, self._log, self._observers = metrics, log, observers
        self._lock = threading.RLock()
        self._changes: deque[tuple[str, list[Partition]]] = deque()
        self._queued: dict[Partition, int] = {}
        self._owned: dict[Partition, Owned] = {}
        self._stopping = False
        self.progress = Progress()
        self.last_turn = clocks.monotonic()

    def run(self) -> None:
        """Until stopped, or a finite source is exhausted. Raises one of `errors` when it cannot go on."""
        raise NotImplementedError

    def turn(self) -> None:
        """Once around the loop."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ask `run` to flush and return; safe from a signal and from any thread."""
        self._stopping = True

    def assigned(self, partitions: Iterable[Partition]) -> None: ...

    def revoked(self, partitions: Iterable[Partition]) -> None: ...

    def lost(self, partitions: Iterable[Partition]) -> None: ...
