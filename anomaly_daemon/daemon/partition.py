"""One input partition while it is assigned to this member: its detector, its offsets, its part of the next commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from anomaly_daemon.checkpoint.ledger import FIRST, Author, Ledger, Regime, model_records
from anomaly_daemon.checkpoint.snapshot import Bucket, Make, bucket_records
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.daemon.unfolding import Unfolding
from anomaly_daemon.detection.alert import Alert, Kind
from anomaly_daemon.detection.detector import Exported, Step
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.detection.observation import Int64, Observations
from anomaly_daemon.detection.realised import Spent
from anomaly_daemon.detection.room import Evicted
from anomaly_daemon.transport.ports import Outgoing, Partition, RecordBatch, SentAhead


class Detects(Protocol):
    """What the loop asks of a partition's detector. The detector decides, and the loop delivers."""

    floors: Int64 | None
    """Offsets [buckets] below which the events of a bucket's streams are already in the state."""

    watermark: int
    """The largest event time of any record so far, epoch microseconds."""
    last_offset: int
    """Offset of the last record so far. Alerts that the clock alone raises refer to it."""

    @property
    def streams(self) -> int: ...
    @property
    def open_episodes(self) -> Mapping[Kind, int]: ...
    def step(self, observations: Observations) -> Step: ...
    def advance(self, watermark: int, append: int | None) -> list[Alert]: ...
    def evicted(self) -> Evicted: ...
    def spent(self) -> Spent: ...
    def newest(self, key: str) -> int | None:
        """Return the event time that this stream has reached; None if the stream is not known."""

    def buckets(self, n: int) -> set[int]: ...
    def evidence(self) -> Mapping[str, Evidence]:
        """Return the evidence of the episodes opened since the last call, by alert id."""

    def take_in(self, key: str, alert_id: str, label: Label, offset: int) -> bool:
        """Take in a label of an alert of this stream, at this feedback offset; return whether its state changed."""

    def hear_anew(self, buckets: int) -> set[int]:
        """Let every stream take in the feedback from its beginning; return which of `buckets` buckets changed."""

    def export(self, bucket: int, buckets: int) -> Exported: ...
    def restore(self, exported: Exported) -> tuple[str, ...]:
        """Take in a bucket. Returns the columns that another release did not store; they start empty."""

    def follow(self, former: Any) -> None:
        """Start with a copy of every stream of `former`, a detector of this same type that stays in use."""

    def adopt(self, former: Any) -> None:
        """Take over every stream of `former`, the detector that decided so far (of this same type)."""


@dataclass(slots=True)
class Pending:
    """What was taken in since the last commit."""

    alerts: list[Alert] = field(default_factory=list)
    ahead: list[tuple[Alert, SentAhead]] = field(default_factory=list)
    """Alerts before those in `alerts` that were sent ahead of the commit."""
    evidence: dict[str, Evidence] = field(default_factory=dict)
    """Evidence of the opened alerts among both, by alert id."""
    dead_letters: list[Outgoing] = field(default_factory=list)
    events: int = 0


@dataclass(slots=True)
class Owned:
    """A restored partition of this member. `position` is the next offset to read, `committed` the last made visible."""

    partition: Partition
    detector: Detects
    make: Make
    policy: SnapshotPolicy
    since: float
    """Monotonic time of the assignment; the snapshot visits are counted from it."""
    position: int
    committed: int
    floors: list[int]
    watermarks: list[int]
    """The partition's event time at each floor."""
    stored: list[int]
    """The offset at which each bucket's stored version is; -1 where there is none."""
    regimes: list[Regime]
    """The regimes in force since the lowest floor; the last one is this member's."""
    artifact: bytes
    """This member's model, to be stored beside the state that it produces."""
    atomic: bool = True
    """Whether a commit becomes visible at once. If not, a bucket's newest whole version is never overwritten."""
    author: Author = FIRST
    """This owner, as its ledgers name it."""
    versions: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The slot and the turn (number) of each bucket's newest version."""
    ahead: deque[tuple[Regime, Detects]] = field(default_factory=deque)
    """During a replay: the detectors of later regimes, each with the state already restored into it."""
    models: dict[str, list[bytes]] = field(default_factory=dict)
    """The keys of the models that are stored, by digest."""
    held: tuple[str, ...] = ()
    unreported: int = 0
    heard: int = 0
    """The offset up to which the feedback on alerts is in the state."""
    heard_before: int = 0
    """The offset up to which the previous owner heard the feedback, whether it is in the state or not."""
    announce: bool = False
    """Whether to commit even if nothing was read: the ledger must be stored before the first record counts."""
    live: bool = False
    visits: int = 0
    dirty: set[int] = field(default_factory=set)
    forced: bool = False
    """Whether every dirty bucket goes into the next commit."""
    pending: Pending = field(default_factory=Pending)
    last_record: float = 0.0
    """Monotonic time of the last record, or at first of the adoption. The idle timers start there, at `last_watermark`."""
    last_watermark: int = 0
    empty_columns: tuple[str, ...] = ()
    """Columns of the stored streams that start empty, because the release that stored them lacks them."""
    last_append: int = -1
    """When the last record was appended, epoch µs; -1 if not known."""

    @property
    def records_left(self) -> int:
        """Records to be replayed before this partition goes live."""
        return 0 if self.live else max(0, self.committed - self.position)

    def reach(self, offset: int) -> None:
        """Switch to each regime that is in force from `offset` on, or from before it."""
        while self.ahead and self.ahead[0][0].since <= offset:
            former, (_, self.detector) = self.detector, self.ahead.popleft()
            self.detector.adopt(former)

    @property
    def settled(self) -> bool:
        """Whether another model may take over here: at a committed offset, with nothing pending, and past the previous
        change. Two changes at one offset could not be distinguished by what was stored there (`takeover.regime_of`)."""
        return self.quiet and self.position > self.regimes[-1].since

    @property
    def quiet(self) -> bool:
        """Whether the partition is live and at a committed offset, with nothing pending."""
        pending = self.pending.events or self.pending.alerts or self.pending.ahead or self.announce or self.forced
        return self.live and not pending and self.position == self.committed

    def succeed(self, detector: Detects, make: Make, regime: Regime, artifact: bytes) -> None:
        """Let another model decide from `position` on. Every stream moves over, and the ledger will say so."""
        detector.adopt(self.detector)
        self.detector, self.make, self.artifact = detector, make, artifact
        self.regimes.append(replace(regime, since=self.position))
        self.announce = True

    def note_changes(self) -> set[int]:
        """Return every bucket that differs from its stored version, after adding those changed since the last call."""
        self.dirty |= self.detector.buckets(self.policy.buckets)
        return self.dirty

    def due(self, now: float) -> set[int]:
        """Return the dirty buckets that the commit at `now` must carry. This makes their visits: what becomes due while
        that commit is being sent is left to the next one."""
        if self.forced:
            return set(self.note_changes())
        visits = self.policy.visits(elapsed=now - self.since, done=self.visits)
        if not visits:
            return set()
        self.visits = visits.stop
        return self.note_changes() & self.policy.visited(visits)

    def snapshots(self, buckets: Sequence[int], *, reported: bool = False) -> Unfolding:
        """Return new models, these buckets as they are at `position`, the ledger, and deletions of models. The records
        are made one by one when they are asked for: nothing may be decided here before the last one is made.

        `reported`: the commit carries a digest of the alerts that were held back.
        """
        self.note_changes()  # or a bucket changed since the last look would pass for clean
        return Unfolding(self._records(sorted(buckets), 0 if reported else self.unreported))

    def _records(self, buckets: Sequence[int], unreported: int) -> Iterator[Outgoing]:
        yield from self._new_models()
        for bucket in buckets:
            state = self.detector.export(bucket, self.policy.buckets)
            state = replace(state, extra={**state.extra, "watermark": self.detector.watermark})
            yield from bucket_records(Bucket(self.make, bucket, self.position, state, *self._next_version(bucket)))
        floors, watermarks = self._floors(buckets)
        # What the ledger names is written before it, and what it no longer names is deleted after it.
        yield from self._ledger_records(self.position, floors, watermarks, self._stored(buckets), unreported)
        yield from (Outgoing(key, None) for digest in self._unneeded(floors) for key in self.models[digest])

    def announcement(self) -> list[Outgoing]:
        """Return the ledger with what is in force from now on, and the model if it is not stored yet."""
        ledger = self._ledger_records(self.committed, self.floors, self.watermarks, self.stored, self.unreported)
        return [*self._new_models(), *ledger]

    def announced(self) -> None:
        """Update this partition once the announcement is visible."""
        self._models_stored()
        self.author, self.announce = replace(self.author, former=()), False

    def _ledger_records(
        self, position: int, floors: Sequence[int], watermarks: Sequence[int], stored: Sequence[int], unreported: int
    ) -> list[Outgoing]:
        ledger = Ledger(
            self.make,
            position,
            tuple(floors),
            tuple(watermarks),
            tuple(stored),
            tuple(in_force(self.regimes, min(floors))),
            self.held,
            unreported,
            self.atomic,
            self.author.turn,
            self.heard if self.atomic else max(self.heard, self.heard_before),
        )
        return self.author.records(ledger)

    def _models_stored(self) -> None:
        self.models.setdefault(self.make.model, [record.key or b"" for record in self._new_models()])

    def _next_version(self, bucket: int) -> tuple[int, int]:
        slot, turn = self.versions.get(bucket, (1, 0))
        return 0 if self.atomic else 1 - slot, turn + 1

    def _stored(self, written: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.position if bucket in written else at for bucket, at in enumerate(self.stored))

    def _new_models(self) -> Iterable[Outgoing]:
        return () if self.make.model in self.models else model_records(self.make.model, self.artifact)

    def _unneeded(self, floors: Sequence[int]) -> list[str]:
        needed = {regime.model for regime in in_force(self.regimes, min(floors))}
        return [digest for digest in self.models if digest not in needed]

    def _floors(self, written: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the floors and the watermarks at them. A bucket that is clean, or written now, is at `position`; a
        dirty one is where it was last stored."""
        behind, now = self.dirty.difference(written), (self.position, self.detector.watermark)
        pairs = zip(self.floors, self.watermarks, strict=True)
        floors, watermarks = zip(*(pair if bucket in behind else now for bucket, pair in enumerate(pairs)), strict=True)
        return floors, watermarks

    def settle(self, written: Sequence[int]) -> None:
        """Update this partition once the commit that holds `snapshots` is visible."""
        floors, watermarks = self._floors(written)
        self.stored = list(self._stored(written))
        self.versions |= {bucket: self._next_version(bucket) for bucket in written}
        self._models_stored()
        for digest in self._unneeded(floors):
            del self.models[digest]
        self.regimes = list(in_force(self.regimes, min(floors)))
        self.floors, self.watermarks = list(floors), list(watermarks)
        self.dirty.difference_update(written)
        self.author = replace(self.author, former=())
        self.committed, self.announce, self.forced = self.position, False, False
        self.pending = Pending()


def in_force(regimes: Sequence[Regime], lowest: int) -> Sequence[Regime]:
    """Return the regimes that still matter when every bucket is at `lowest` or above. One that ended below it does not.

    One that ended *at* it does matter: a bucket that was stored under it may be there.
    """
    ended = sum(later.since < lowest for later in regimes[1:])
    return regimes[ended:]


def cut(batch: RecordBatch, offsets: Iterable[int]) -> Iterator[RecordBatch]:
    """Yield the parts of a batch between these offsets, in order. An empty part is skipped, an empty batch is not."""
    rest, parts = batch, 0
    for offset in sorted(offsets):
        place = int(np.searchsorted(rest.offsets, offset))
        if place:
            yield _slice(rest, slice(0, place), rest.next_offset if place == len(rest) else offset)
            rest, parts = _slice(rest, slice(place, None), rest.next_offset), parts + 1
    if len(rest) or not parts:
        yield rest


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
