"""Plans a take-over: from what was found about a partition, where its state comes from and where it goes live. Pure.

What each case means for the state, so that none of it is lost silently:

* nothing committed and nothing stored, or no snapshots kept at all: *fresh*. Reading begins at the committed position,
  or else at `source.start`, and the first commit says so.
* a committed position and a ledger of this make: *restored*. Every bucket is at its floor (a bucket without a record
  had no streams there); the replay begins at the lowest floor. Since every commit carries the ledger, from the very
  first on, a bucket that was never written is rebuilt from where its first stream may have begun.
* a ledger of another model or other rules: *changed*. These decided about the records below the committed position, so
  they replay them. This member's model and rules are in force from that position on (`Regime`). The state moves over
  there: see `detection.changeover`.
* a committed position without a ledger: *lost*. Somebody deleted the snapshots. The daemon goes on, and logs an error.
* a ledger without a committed position: the group's offset expired. The ledger holds the same number.
* a ledger ahead of the committed position, a ledger of another topic of the same name or of another make, a damaged
  record: refused, with what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from anomaly_daemon.checkpoint.envelope import Corrupt, count, describe, whole
from anomaly_daemon.checkpoint.ledger import (
    FIRST,
    MODEL_PREFIX,
    Author,
    Ledger,
    Regime,
    find_ledger,
    find_ledgers,
    find_models,
)
from anomaly_daemon.checkpoint.snapshot import Bucket, Make, take_buckets
from anomaly_daemon.errors import Incompatible


class Outcome(StrEnum):
    """Where the state of a partition came from."""

    FRESH = "fresh"
    RESTORED = "restored"
    CHANGED = "changed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Found:
    """What the transport has about a partition at its assignment."""

    committed: int | None
    start: int
    """The offset to begin at when nothing is committed."""
    beginning: int
    """The oldest offset that still exists."""
    stored: dict[bytes, bytes] | None
    """The snapshots, or None when this deployment keeps none. `plan` takes the buckets out of it."""
    topic_id: str = ""
    """Identifies the topic as it is now, because a recreated topic has another id; "" where it is not known."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """What to do: restore `buckets`, set the floors, seek, replay silently below `committed`, then go live."""

    outcome: Outcome
    committed: int
    seek: int
    floors: tuple[int, ...]
    watermarks: tuple[int, ...]
    regimes: tuple[Regime, ...]
    """The oldest first; the last one is this member's."""
    buckets: tuple[Bucket, ...] = ()
    models: Mapping[str, list[bytes]] | None = None
    """The keys of the models that are stored, by digest."""
    held: tuple[str, ...] = ()
    unreported: int = 0
    records_lost: int = 0
    """Records below `beginning` that should have been read or replayed, and no longer exist."""
    atomic: bool | None = None
    """Whether the commits that stored this state were atomic; None where nothing was stored."""
    author: Author = FIRST
    """How this member's ledgers name their author: one turn after those that were found."""
    heard: int = 0
    """The offset up to which the feedback on alerts is in the state that was found."""
    heard_before: int = 0
    """The offset up to which the previous owner heard the feedback."""

    @property
    def versions(self) -> dict[int, tuple[int, int]]:
        """The slot and the turn of the version of each bucket that was found."""
        return {bucket.bucket: (bucket.slot, bucket.turn) for bucket in self.buckets}

    @property
    def stored(self) -> tuple[int, ...]:
        """The offset at which each found bucket is; -1 where there is none."""
        found = {bucket.bucket: bucket.position for bucket in self.buckets}
        return tuple(found.get(bucket, -1) for bucket in range(len(self.floors)))

    @property
    def watermark(self) -> int:
        """The partition's event time where the replay begins, epoch microseconds."""
        return self.watermarks[self.floors.index(min(self.floors))]


def plan(found: Found, make: Make, ours: Regime, buckets: int) -> TakeOver:
    """Decide the take-over. `ours` is the regime in force from the committed position on; its own `since` is ignored.
    Raises Incompatible (or Corrupt) when the state that was found cannot be used."""
    ledger = find_ledger(found.stored) if found.stored else None
    if ledger is None:
        return _without_ledger(found, ours, buckets)
    committed = ledger.position if found.committed is None else found.committed
    committed = max(committed, found.beginning)  # what retention removed cannot be read again
    differences = make.differences(ledger.make)
    if differences:
        raise Incompatible(describe(differences))
    if ledger.topic_id and found.topic_id and ledger.topic_id != found.topic_id:
        raise Incompatible(
            "the topic was recreated since: its offsets are those of other records. Start with a new "
            "kafka.group_id and snapshot.topic"
        )
    if committed < ledger.position:
        raise Incompatible(
            f"the snapshots are at offset {ledger.position}, the group's committed offset is {committed}: it was "
            "moved back. To read those records again, name a new snapshot.topic; otherwise move the offset "
            "forward again"
        )
    return _restored(found, ledger, ours, committed, buckets)


def _without_ledger(found: Found, ours: Regime, buckets: int) -> TakeOver:
    if any(
        not key.startswith(MODEL_PREFIX) for key in found.stored or ()
    ):  # a first commit that was cut off may hold a model only
        raise Corrupt(
            "the snapshots have no ledger: delete them (every stream starts from scratch), or restore them from a copy"
        )
    fresh = found.committed is None or found.stored is None
    committed = found.start if found.committed is None else found.committed
    begin = max(committed, found.beginning)
    return TakeOver(
        Outcome.FRESH if fresh else Outcome.LOST,
        begin,
        begin,
        (begin,) * buckets,
        (0,) * buckets,
        (replace(ours, since=begin),),
        records_lost=begin - committed,
        author=Author(topic_id=found.topic_id),
    )


def _restored(found: Found, ledger: Ledger, ours: Regime, committed: int, buckets: int) -> TakeOver:
    if len(ledger.floors) != buckets:
        raise Corrupt(f"the snapshot ledger has {len(ledger.floors)} buckets instead of {buckets}")
    stored = found.stored or {}
    restored = tuple(take_buckets(stored, buckets, committed, torn=not ledger.atomic))
    if any(bucket.make.differences(ledger.make) for bucket in restored):
        raise Corrupt("the snapshot buckets and the ledger were written under different settings")
    floors, watermarks = (_floors if ledger.atomic else _loose_floors)(ledger, restored)
    lowest = min(floors)
    seek = max(lowest, found.beginning)
    same = ledger.regimes[-1].same(ours)
    return TakeOver(
        Outcome.RESTORED if same else Outcome.CHANGED,
        committed,
        min(seek, committed),
        floors,
        watermarks,
        ledger.regimes if same else (*ledger.regimes, replace(ours, since=committed)),
        restored,
        find_models(stored),
        ledger.held,
        ledger.unreported,
        records_lost=seek - lowest,
        atomic=ledger.atomic,
        author=Author("", ledger.turn + 1, tuple(find_ledgers(stored)), found.topic_id),
        heard=ledger.heard if ledger.atomic else 0,  # a bucket may be older than the ledger: each row stores its own
        heard_before=ledger.heard,
    )


Floors = tuple[tuple[int, ...], tuple[int, ...]]


def _floors(ledger: Ledger, restored: tuple[Bucket, ...]) -> Floors:
    """Return the floors as the ledger has them: everything that it names became visible with it. Raises Corrupt if a
    bucket is not of its commit."""
    found = {bucket.bucket: bucket.position for bucket in restored}
    for bucket, position in enumerate(ledger.stored):
        if found.get(bucket, -1) != position:
            raise Corrupt(f"snapshot bucket {bucket} and the ledger are not from the same commit")
    return ledger.floors, ledger.watermarks


def _loose_floors(ledger: Ledger, restored: tuple[Bucket, ...]) -> Floors:
    """Return the floors for commits without transactions. There the ledger may be older than a bucket, when a crash
    came between the two. Or a bucket may be older than the ledger, when a member that had been replaced wrote once
    more. Either way the bucket itself gives its offset. Only where it is the version that the ledger names can its
    floor have moved on since."""
    at = dict(enumerate(zip(ledger.floors, ledger.watermarks, strict=True)))
    for bucket in restored:
        if bucket.position != ledger.stored[bucket.bucket]:
            at[bucket.bucket] = (bucket.position, _watermark(bucket))
    missing = {bucket for bucket, position in enumerate(ledger.stored) if position >= 0}
    if missing := missing.difference(bucket.bucket for bucket in restored):
        raise Corrupt(f"snapshot bucket {min(missing)}, which the ledger names, is gone or cut short")
    floors, watermarks = zip(*at.values(), strict=True)
    return floors, watermarks


def _watermark(bucket: Bucket) -> int:
    try:
        return count(whole(bucket.state.extra["watermark"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"snapshot bucket {bucket.bucket} has no event time") from error


def regime_of(bucket: Bucket, regimes: tuple[Regime, ...]) -> int:
    """Return the index of the regime that a bucket was stored under: of those with its model, the newest that had
    begun."""
    begun = [at for at, one in enumerate(regimes) if one.model == bucket.make.model and one.since <= bucket.position]
    if not begun:
        raise Corrupt(f"snapshot bucket {bucket.bucket} was written with a model that the ledger does not name")
    return begun[-1]
