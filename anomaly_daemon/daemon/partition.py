"""One input partition while it is ours: its detector, where it stands, and what of it the next commit will carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from anomaly_daemon.checkpoint.snapshot import Bucket, Ledger, Make, bucket_records, ledger_record
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.daemon.takeover import Outcome, TakeOver
from anomaly_daemon.detection.alert import Alert, Kind
from anomaly_daemon.detection.detector import Exported, Step
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.observation import Int64, Observations
from anomaly_daemon.transport.ports import Outgoing, Partition, RecordBatch


class Detects(Protocol):
    """What the loop asks of a partition's detector. It decides; the loop delivers."""

    floors: Int64 | None
    """[buckets] offsets below which the events of a bucket's streams are already in the state."""

    @property
    def streams(self) -> int: ...
    @property
    def watermark(self) -> int: ...
    @property
    def open_episodes(self) -> Mapping[Kind, int]: ...
    def step(self, observations: Observations) -> Step: ...
    def advance(self, watermark: int, append: int | None) -> list[Alert]: ...
    def evict(self) -> int: ...
    def realised(self) -> float | None: ...
    def buckets(self, n: int) -> set[int]: ...
    def evidence(self) -> Mapping[str, Evidence]:
        """What the episodes opened since this was last asked stand on, by alert id."""

    def export(self, bucket: int, buckets: int) -> Exported: ...
    def restore(self, exported: Exported) -> None: ...


@dataclass(slots=True)
class Pending:
    """Taken since the last commit."""

    alerts: list[Alert] = field(default_factory=list)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    """Of the opened ones among them, by alert id."""
    dead_letters: list[Outgoing] = field(default_factory=list)
    events: int = 0


@dataclass(slots=True)
class Owned:
    """A partition of ours, restored. `position` is the next offset to read, `committed` the one last made visible."""

    partition: Partition
    detector: Detects
    make: Make
    policy: SnapshotPolicy
    since: float
    """Monotonic time of the take-over; the snapshot visits are counted from it."""
    position: int
    committed: int
    floors: list[int]
    held: tuple[str, ...] = ()
    unreported: int = 0
    stale: tuple[bytes, ...] = ()
    announce: bool = False
    """Commit even if nothing was read: the ledger must stand before the first record counts."""
    live: bool = False
    visits: int = 0
    dirty: set[int] = field(default_factory=set)
    forced: bool = False
    """Every dirty bucket goes into the next commit."""
    pending: Pending = field(default_factory=Pending)
    last_record: float = 0.0
    """Monotonic time of the last record, and the event time reached by it: the idle timers start there."""
    last_watermark: int = 0
    last_append: int = -1
    """Epoch µs when the last record was appended."""

    @property
    def records_left(self) -> int:
        """To be replayed before this partition goes live."""
        return 0 if self.live else max(0, self.committed - self.position)

    def note_changes(self) -> set[int]:
        """Every bucket that differs from what is stored of it."""
        self.dirty |= self.detector.buckets(self.policy.buckets)
        return self.dirty

    def due(self, now: float) -> set[int]:
        """The dirty buckets that the commit at `now` has to carry."""
        if self.forced:
            return set(self.note_changes())
        visits = self.policy.visits(elapsed=now - self.since, done=self.visits)
        if visits == self.visits:
            return set()
        buckets = self.note_changes() & self.policy.due(done=self.visits, visits=visits)
        if not buckets:
            self.visits = visits
        return buckets

    def snapshots(self, buckets: Sequence[int], *, told: bool = False) -> list[Outgoing]:
        """What is to go, the records of these buckets as they stand at `position`, and the ledger.

        `told`: the commit carries a digest of what was held back.
        """
        self.note_changes()  # or a bucket changed since the last look would pass for clean
        records = [Outgoing(key, None) for key in self.stale]
        for bucket in sorted(buckets):
            state = self.detector.export(bucket, self.policy.buckets)
            records += bucket_records(Bucket(self.make, bucket, self.position, state))
        unreported = 0 if told else self.unreported
        ledger = Ledger(self.make, self.position, tuple(self._floors(buckets)), self.held, unreported)
        return [*records, ledger_record(ledger)]

    def _floors(self, written: Sequence[int]) -> list[int]:
        """A bucket that is clean, or written now, stands at our position; a dirty one where it was last stored."""
        behind = self.dirty.difference(written)
        return [floor if bucket in behind else self.position for bucket, floor in enumerate(self.floors)]

    def settle(self, written: Sequence[int], now: float) -> None:
        """The commit that `snapshots` went into is visible."""
        self.floors = self._floors(written)
        self.dirty.difference_update(written)
        self.visits = self.policy.visits(elapsed=now - self.since, done=self.visits)
        self.committed, self.stale, self.announce, self.forced = self.position, (), False, False
        self.pending = Pending()


def take_over(
    partition: Partition, detector: Detects, make: Make, policy: SnapshotPolicy, taken: TakeOver, now: float
) -> Owned:
    """The partition as the plan says; the source still has to seek to `position`."""
    for bucket in taken.buckets:
        detector.restore(bucket.state)
    detector.floors = np.asarray(taken.floors, np.int64)
    return Owned(
        partition,
        detector,
        make,
        policy,
        now,
        position=taken.seek,
        committed=taken.committed,
        floors=list(taken.floors),
        held=taken.held,
        unreported=taken.unreported,
        stale=taken.stale,
        announce=taken.outcome is not Outcome.RESTORED,
        live=taken.seek >= taken.committed,
        last_record=now,
        last_watermark=detector.watermark,
    )


def cut(batch: RecordBatch, offset: int) -> Iterator[RecordBatch]:
    """The part of a batch below `offset`, and the part from it on; an empty part is left out."""
    place = int(np.searchsorted(batch.offsets, offset))
    if place:
        yield _slice(batch, slice(0, place), batch.next_offset if place == len(batch) else offset)
    if place < len(batch) or not len(batch):
        yield _slice(batch, slice(place, None), batch.next_offset)


def _slice(batch: RecordBatch, rows: slice, next_offset: int) -> RecordBatch:
    return RecordBatch(
        batch.partition,
        batch.offsets[rows],
        batch.timestamps[rows],
        batch.keys[rows],
        batch.values[rows],
        batch.headers[rows],
        next_offset,
    )
