"""Take-over: from what was found about a partition, where its state comes from and where it goes live. Pure.

What each case means for the state, so that none of it is lost silently:

* nothing committed and nothing stored: *fresh*. We begin at `source.start`, and the first commit says so.
* a committed position and a ledger of this make: *restored*. Every bucket stands at its floor (a bucket without a
  record had no streams there); the replay begins at the lowest floor. Since every commit carries the ledger, from the
  very first on, a bucket that was never written is rebuilt from where its first stream may have begun.
* a ledger of another model: *rebuilt*. The state of one network means nothing to another (law L9): every stream
  begins anew at the committed position, and the old records are deleted with the first commit.
* a committed position without a ledger: *lost*. Somebody deleted the snapshots; we go on, and say it loudly.
* a ledger without a committed position: the group's offset expired. The ledger holds the same number.
* a ledger ahead of the committed position, another make, a damaged record: refused, with what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from anomaly_daemon.checkpoint.snapshot import (
    LEDGER_KEY,
    Bucket,
    Corrupt,
    Ledger,
    Make,
    describe,
    find_buckets,
    find_ledger,
)
from anomaly_daemon.errors import Incompatible


class Outcome(StrEnum):
    """Where the state of a partition came from."""

    FRESH = "fresh"
    RESTORED = "restored"
    LOST = "lost"
    REBUILT = "rebuilt"


@dataclass(frozen=True, slots=True)
class Found:
    """What the transport knows about a partition at its take-over."""

    committed: int | None
    start: int
    """Where to begin when nothing is committed."""
    beginning: int
    """The oldest offset still there."""
    stored: Mapping[bytes, bytes] | None
    """The snapshots, or None when this deployment keeps none."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """What to do: restore `buckets`, set the floors, seek, replay silently below `committed`, then go live."""

    outcome: Outcome
    committed: int
    seek: int
    floors: tuple[int, ...]
    buckets: tuple[Bucket, ...] = ()
    held: tuple[str, ...] = ()
    unreported: int = 0
    stale: tuple[bytes, ...] = ()
    """Keys of the store to delete with the next commit."""
    records_lost: int = 0
    """Records below `beginning` that should have been read or replayed."""


def plan(found: Found, make: Make, buckets: int) -> TakeOver:
    """Decide the take-over. Raises Incompatible (or Corrupt) when state was found that cannot be used."""
    ledger = find_ledger(found.stored) if found.stored else None
    if ledger is None:
        return _without_ledger(found, buckets)
    committed = ledger.position if found.committed is None else found.committed
    if ledger.make.model != make.model:
        stale = tuple(sorted(key for key in found.stored or () if key != LEDGER_KEY))
        return _anew(Outcome.REBUILT, committed, found, buckets, stale)
    differences = make.differences(ledger.make)
    if differences:
        raise Incompatible(describe(differences))
    if committed < ledger.position:
        raise Incompatible(
            f"the snapshots stand at offset {ledger.position}, the group's committed offset is {committed}: it was "
            "moved back. To read those records again, name a new snapshot.topic; else set the offset forward again"
        )
    return _restored(found, ledger, committed, buckets)


def _without_ledger(found: Found, buckets: int) -> TakeOver:
    if found.stored:
        raise Corrupt("the snapshots have no ledger: delete them (the state begins anew), or restore the store")
    if found.committed is None:
        return _anew(Outcome.FRESH, found.start, found, buckets)
    outcome = Outcome.FRESH if found.stored is None else Outcome.LOST
    return _anew(outcome, found.committed, found, buckets)


def _anew(outcome: Outcome, committed: int, found: Found, buckets: int, stale: tuple[bytes, ...] = ()) -> TakeOver:
    begin = max(committed, found.beginning)
    return TakeOver(outcome, begin, begin, (begin,) * buckets, stale=stale, records_lost=begin - committed)


def _restored(found: Found, ledger: Ledger, committed: int, buckets: int) -> TakeOver:
    if len(ledger.floors) != buckets:
        raise Corrupt(f"the snapshot ledger has {len(ledger.floors)} buckets instead of {buckets}")
    restored = tuple(find_buckets(found.stored or {}, buckets))
    for bucket in restored:
        if bucket.make != ledger.make or bucket.position > ledger.floors[bucket.bucket]:
            raise Corrupt(f"snapshot bucket {bucket.bucket} and the ledger are not of one commit")
    lowest = min(ledger.floors)
    seek = max(lowest, found.beginning)
    return TakeOver(
        Outcome.RESTORED,
        max(committed, found.beginning),
        min(seek, max(committed, found.beginning)),
        ledger.floors,
        restored,
        ledger.held,
        ledger.unreported,
        records_lost=seek - lowest,
    )
