"""One input partition while it is ours: its detector, where it stands, and what of it the next commit will carry."""

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
from anomaly_daemon.detection.room import Gone
from anomaly_daemon.transport.ports import Outgoing, Partition, RecordBatch, Told


class Detects(Protocol):
    """What the loop asks of a partition's detector. It decides; the loop delivers."""

    floors: Int64 | None
    """[buckets] offsets below which the events of a bucket's streams are already in the state."""

    watermark: int
    """The largest event time of any record so far, epoch microseconds."""
    last_offset: int
    """Of the records so far: what the clock alone raises stands on them."""

    @property
    def streams(self) -> int: ...
    @property
    def open_episodes(self) -> Mapping[Kind, int]: ...
    def step(self, observations: Observations) -> Step: ...
    def advance(self, watermark: int, append: int | None) -> list[Alert]: ...
    def evicted(self) -> Gone: ...
    def spent(self) -> Spent: ...
    def newest(self, key: str) -> int | None:
        """The event time that this stream has reached; None where it is not known."""

    def buckets(self, n: int) -> set[int]: ...
    def evidence(self) -> Mapping[str, Evidence]:
        """What the episodes opened since this was last asked stand on, by alert id."""

    def take_in(self, key: str, alert_id: str, label: Label, offset: int) -> bool:
        """What was said of an alert of this stream, at this place of the feedback; whether that changed its state."""

    def hear_anew(self, buckets: int) -> set[int]:
        """Let every stream take in the feedback from its beginning; the snapshot buckets, of so many, that this changes."""

    def export(self, bucket: int, buckets: int) -> Exported: ...
    def restore(self, exported: Exported) -> tuple[str, ...]:
        """Take in a bucket; the columns that another release did not store, and that begin anew."""

    def follow(self, former: Any) -> None:
        """Begin with a copy of every stream of a detector that goes on (of this very type)."""

    def adopt(self, former: Any) -> None:
        """Take over every stream of the detector that decided so far (of this very type)."""


@dataclass(slots=True)
class Pending:
    """Taken since the last commit."""

    alerts: list[Alert] = field(default_factory=list)
    told: list[tuple[Alert, Told]] = field(default_factory=list)
    """Alerts before these that went ahead of the commit."""
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
    watermarks: list[int]
    """The partition's event time at each floor."""
    stored: list[int]
    """The offset at which each bucket's stored version stands; -1 where there is none."""
    regimes: list[Regime]
    """What was in force since the lowest floor; the last one is ours."""
    artifact: bytes
    """Our model, to be stored beside the state it makes."""
    atomic: bool = True
    """Whether a commit becomes visible at once; if not, a bucket's newest whole version is never written over."""
    author: Author = FIRST
    """We, as our ledgers name us."""
    versions: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The slot and the turn of each bucket's newest version."""
    ahead: deque[tuple[Regime, Detects]] = field(default_factory=deque)
    """During a replay: the detectors of later regimes, each with what is already restored into it."""
    models: dict[str, list[bytes]] = field(default_factory=dict)
    """The keys of the models that are stored, by digest."""
    held: tuple[str, ...] = ()
    unreported: int = 0
    heard: int = 0
    """Up to where the feedback on alerts is in the state."""
    heard_before: int = 0
    """Up to where whoever had the partition before us heard it, be it in the state or not."""
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
    anew: tuple[str, ...] = ()
    """The columns of stored streams that begin anew, because the release that stored them did not know them."""
    last_append: int = -1
    """Epoch µs when the last record was appended."""

    @property
    def records_left(self) -> int:
        """To be replayed before this partition goes live."""
        return 0 if self.live else max(0, self.committed - self.position)

    def reach(self, offset: int) -> None:
        """Change over to each regime that is in force from `offset` on, or from before it."""
        while self.ahead and self.ahead[0][0].since <= offset:
            former, (_, self.detector) = self.detector, self.ahead.popleft()
            self.detector.adopt(former)

    @property
    def settled(self) -> bool:
        """Whether another model may take over here: at a committed offset, with nothing pending, and past the change
        before it. Two at one offset could not be told apart by what was stored there (`takeover.regime_of`)."""
        return self.quiet and self.position > self.regimes[-1].since

    @property
    def quiet(self) -> bool:
        """Whether it stands at a committed offset, with nothing pending."""
        pending = self.pending.events or self.pending.alerts or self.pending.told or self.announce or self.forced
        return self.live and not pending and self.position == self.committed

    def succeed(self, detector: Detects, make: Make, regime: Regime, artifact: bytes) -> None:
        """From `position` on another model decides: every stream moves over, and the ledger will say so."""
        detector.adopt(self.detector)
        self.detector, self.make, self.artifact = detector, make, artifact
        self.regimes.append(replace(regime, since=self.position))
        self.announce = True

    def note_changes(self) -> set[int]:
        """Every bucket that differs from what is stored of it."""
        self.dirty |= self.detector.buckets(self.policy.buckets)
        return self.dirty

    def due(self, now: float) -> set[int]:
        """The dirty buckets that the commit at `now` has to carry. Their visits are made with that: what falls due while it
        is on its way is for the next one."""
        if self.forced:
            return set(self.note_changes())
        visits = self.policy.visits(elapsed=now - self.since, done=self.visits)
        if not visits:
            return set()
        self.visits = visits.stop
        return self.note_changes() & self.policy.visited(visits)

    def snapshots(self, buckets: Sequence[int], *, told: bool = False) -> Unfolding:
        """What is to go, the records of these buckets as they stand at `position`, and the ledger. They are made one after
        the other, as they are asked for: nothing may be decided here before the last one is.

        `told`: the commit carries a digest of what was held back.
        """
        self.note_changes()  # or a bucket changed since the last look would pass for clean
        return Unfolding(self._records(sorted(buckets), 0 if told else self.unreported))

    def _records(self, buckets: Sequence[int], unreported: int) -> Iterator[Outgoing]:
        yield from self._new_models()
        for bucket in buckets:
            state = self.detector.export(bucket, self.policy.buckets)
            state = replace(state, extra={**state.extra, "watermark": self.detector.watermark})
            yield from bucket_records(Bucket(self.make, bucket, self.position, state, *self._next_version(bucket)))
        floors, watermarks = self._floors(buckets)
        # What the ledger names is there before it, what it no longer names goes after it.
        yield from self._ledger_records(self.position, floors, watermarks, self._stored(buckets), unreported)
        yield from (Outgoing(key, None) for digest in self._unneeded(floors) for key in self.models[digest])

    def announcement(self) -> list[Outgoing]:
        """The ledger with what is in force from now on, and nothing else new: it stands before any record counts."""
        ledger = self._ledger_records(self.committed, self.floors, self.watermarks, self.stored, self.unreported)
        return [*self._new_models(), *ledger]

    def announced(self) -> None:
        """The announcement is visible."""
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
            self.heard,
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
        """Floors and the watermarks at them. A bucket that is clean, or written now, stands at our position; a dirty
        one where it was last stored."""
        behind, now = self.dirty.difference(written), (self.position, self.detector.watermark)
        pairs = zip(self.floors, self.watermarks, strict=True)
        floors, watermarks = zip(*(pair if bucket in behind else now for bucket, pair in enumerate(pairs)), strict=True)
        return floors, watermarks

    def settle(self, written: Sequence[int]) -> None:
        """The commit that `snapshots` went into is visible."""
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
    """Those that still matter when every bucket stands at `lowest` or above: one that ended below it does not.

    One that ended *at* it does: a bucket may stand there that was stored under it.
    """
    ended = sum(later.since < lowest for later in regimes[1:])
    return regimes[ended:]


def cut(batch: RecordBatch, offsets: Iterable[int]) -> Iterator[RecordBatch]:
    """The parts of a batch between these offsets, in order; an empty part is left out, but not an empty batch."""
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
