"""The ledger of an input partition: one table in every commit, which says what the stored buckets stand at and what
decided about the records since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from anomaly_daemon.checkpoint.envelope import (
    UNREADABLE,
    Corrupt,
    count,
    counts,
    cut,
    expect,
    joined,
    mapping,
    seal,
    texts,
    unseal,
)
from anomaly_daemon.checkpoint.snapshot import Make, read_make
from anomaly_daemon.transport.ports import Outgoing

LEDGER_KEY = b"ledger"
MODEL_PREFIX = b"model/"


@dataclass(frozen=True, slots=True)
class Regime:
    """What decides about a partition's records from the offset `since` on. A replay goes by what was in force."""

    since: int
    model: str
    """The model's digest."""
    rules: Mapping[str, Any]
    """`detection.rules.Rules`, as JSON has it."""

    def same(self, other: Regime) -> bool:
        """Whether the two decide alike."""
        return (self.model, self.rules) == (other.model, other.rules)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the newest commit of a partition left behind.

    `floors[b]` is the offset that bucket b's stored state (or its absence: no streams) stands at. It moves on with
    every commit in which the bucket is clean, so a bucket nobody writes to does not lengthen the replay, and one that
    was never written says from where its streams have to be rebuilt.
    """

    make: Make
    position: int
    """The committed position: the same number as the group's offset, which may expire."""
    floors: tuple[int, ...]
    watermarks: tuple[int, ...]
    """The partition's event time (epoch microseconds) at each floor: where its timers stood."""
    stored: tuple[int, ...]
    """The offset that each bucket's stored version stands at; -1 where none was ever stored."""
    regimes: tuple[Regime, ...]
    """What was in force since the lowest floor, the oldest first; the last one is that of `make`."""
    held: tuple[str, ...] = ()
    """Ids of open alerts that were held back by the alert cap: their later messages are held back too."""
    unreported: int = 0
    """Alerts held back since the last digest."""
    atomic: bool = True
    """Whether it became visible at once with everything else of its commit."""
    turn: int = 0
    """One more than that of the ledger its writer took over from: of several that are stored, the latest owner's."""
    heard: int = 0
    """Up to where the feedback on alerts is in the state."""
    topic_id: str = ""
    """Of the topic that was read, which another of its name does not have; "" where it is not known."""


def encode_ledger(ledger: Ledger) -> bytes:
    """The bytes of a ledger; `decode_ledger` gives it back."""
    return seal(json.dumps(asdict(ledger), separators=(",", ":")).encode())


def decode_ledger(blob: bytes) -> Ledger:
    """Read a ledger. Raises Corrupt for anything but what `encode_ledger` wrote."""
    try:
        head = mapping(json.loads(unseal(blob)))
        floors, watermarks = counts(head["floors"]), counts(head["watermarks"])
        regimes = tuple(_regime(one) for one in expect(list, head["regimes"]))
        stored = tuple(one - 1 for one in counts([expect(int, one) + 1 for one in expect(list, head["stored"])]))
        if not regimes or not len(floors) == len(watermarks) == len(stored) > 0:
            raise ValueError("its tables do not fit each other")
        make, position, held = read_make(head["make"]), count(head["position"]), texts(head["held"])
        unreported, atomic, turn = count(head["unreported"]), expect(bool, head["atomic"]), count(head["turn"])
        heard = count(head.get("heard", 0))  # an older release's state is refused for its make, not for this
        topic_id = expect(str, head.get("topic_id", ""))
        told = make, position, floors, watermarks, stored, regimes, held, unreported, atomic, turn, heard, topic_id
        return Ledger(*told)
    except UNREADABLE as error:
        raise Corrupt(f"unreadable snapshot ledger: {error}") from error


def _regime(value: Any) -> Regime:
    head = mapping(value)
    return Regime(count(head["since"]), expect(str, head["model"]), mapping(head["rules"]))


@dataclass(frozen=True, slots=True)
class Author:
    """An owner of a partition, as its ledgers name it.

    Where commits are not atomic every take-over has a key of its own: a member that the group has put out, and that still
    writes what it was about to write, must not write over its successor's ledger, or delete it.
    """

    name: str = ""
    turn: int = 0
    former: tuple[bytes, ...] = ()
    """The keys of the ledgers that were there before: of no use once ours stands."""
    topic_id: str = ""
    """Of the topic that we read."""

    @property
    def key(self) -> bytes:
        return b"%s/%s" % (LEDGER_KEY, self.name.encode()) if self.name else LEDGER_KEY

    def records(self, ledger: Ledger) -> list[Outgoing]:
        """The ledger, and the deletion of those before it."""
        gone = [Outgoing(key, None) for key in self.former if key != self.key]
        return [Outgoing(self.key, encode_ledger(replace(ledger, topic_id=self.topic_id))), *gone]


FIRST = Author()


def find_ledgers(stored: Mapping[bytes, bytes]) -> list[bytes]:
    """The keys of every ledger in what `SnapshotStore.load` gave."""
    return [key for key in stored if key.split(b"/", 1)[0] == LEDGER_KEY]


def find_ledger(stored: Mapping[bytes, bytes]) -> Ledger | None:
    """The latest owner's ledger of what `SnapshotStore.load` gave, or None when there is none."""
    found = [decode_ledger(stored[key]) for key in find_ledgers(stored)]
    return max(found, key=lambda ledger: (ledger.turn, ledger.position), default=None)


def model_records(digest: str, artifact: bytes) -> list[Outgoing]:
    """A model beside the state it made, so that whoever takes over can replay with it."""
    return [
        Outgoing(b"%s%s/%d" % (MODEL_PREFIX, digest.encode(), at), part) for at, part in enumerate(cut(seal(artifact)))
    ]


def find_models(stored: Mapping[bytes, bytes]) -> dict[str, list[bytes]]:
    """The keys of each model in what `SnapshotStore.load` gave, by its digest."""
    found: dict[str, list[bytes]] = {}
    for key in sorted(stored):
        if key.startswith(MODEL_PREFIX):
            found.setdefault(key.split(b"/")[1].decode("ascii", "replace"), []).append(key)
    return found


def read_model(stored: Mapping[bytes, bytes], digest: str) -> bytes:
    """The artifact that `model_records` stored; Corrupt when it is not whole, or not there."""
    return unseal(joined(stored, MODEL_PREFIX + digest.encode(), f"the model {digest} stored with the snapshots"))
