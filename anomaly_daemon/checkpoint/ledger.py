"""The ledger of an input partition.

It is one table in every commit. It gives the offsets that the stored buckets are at, and what decided about the records
since then.
"""

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
    """What decides about a partition's records from the offset `since` on. A replay uses the regimes that were in force
    at the time."""

    since: int
    model: str
    """The model's digest."""
    rules: Mapping[str, Any]
    """The `detection.rules.Rules` as JSON values."""

    def same(self, other: Regime) -> bool:
        """Return whether the two regimes decide alike."""
        return (self.model, self.rules) == (other.model, other.rules)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the newest commit of a partition left behind.

    `floors[b]` is the offset that bucket b's stored state is at. (Where none is stored, the bucket had no streams
    there.) It advances with every commit in which the bucket is clean, so a bucket that receives no records does not
    lengthen the replay. For a bucket that was never stored it is the offset from which its streams have to be rebuilt.
    """

    make: Make
    position: int
    """The committed position. The group's committed offset is the same number, but may expire."""
    floors: tuple[int, ...]
    watermarks: tuple[int, ...]
    """The partition's event time (epoch microseconds) at each floor, which its timers had reached there."""
    stored: tuple[int, ...]
    """The offset that each bucket's stored version is at; -1 where none was ever stored."""
    regimes: tuple[Regime, ...]
    """The regimes in force since the lowest floor, the oldest first. The last one is that of `make`."""
    held: tuple[str, ...] = ()
    """Ids of open alerts that the alert cap has held back. Their later messages are held back too."""
    unreported: int = 0
    """Number of alerts held back since the last digest."""
    atomic: bool = True
    """Whether the ledger became visible at once with everything else of its commit."""
    turn: int = 0
    """The turn of the ledger that the writer took over from, plus one. Of several stored ledgers, the highest turn is
    the latest owner's."""
    heard: int = 0
    """The offset up to which the feedback on alerts is in the state ("heard"). Where commits are not atomic: up to which
    any owner heard it."""
    topic_id: str = ""
    """The id of the topic that was read, which another topic of that name does not have; "" where it is not known."""


def encode_ledger(ledger: Ledger) -> bytes:
    """Return the bytes of a ledger, which `decode_ledger` reads."""
    return seal(json.dumps(asdict(ledger), separators=(",", ":")).encode())


def decode_ledger(blob: bytes) -> Ledger:
    """Read what `encode_ledger` wrote. Raises Corrupt for anything else, Incompatible for another format."""
    try:
        head = mapping(json.loads(unseal(blob)))
        floors, watermarks = counts(head["floors"]), counts(head["watermarks"])
        regimes = tuple(_regime(one) for one in expect(list, head["regimes"]))
        stored = tuple(one - 1 for one in counts([expect(int, one) + 1 for one in expect(list, head["stored"])]))
        if not regimes or not len(floors) == len(watermarks) == len(stored) > 0:
            raise ValueError("its tables differ in length")
        make, position, held = read_make(head["make"]), count(head["position"]), texts(head["held"])
        unreported, atomic, turn = count(head["unreported"]), expect(bool, head["atomic"]), count(head["turn"])
        heard = count(head.get("heard", 0))  # an older release's state is refused for its make, not for this
        topic_id = expect(str, head.get("topic_id", ""))
        fields = make, position, floors, watermarks, stored, regimes, held, unreported, atomic, turn, heard, topic_id
        return Ledger(*fields)
    except UNREADABLE as error:
        raise Corrupt(f"unreadable snapshot ledger: {error}") from error


def _regime(value: Any) -> Regime:
    head = mapping(value)
    return Regime(count(head["since"]), expect(str, head["model"]), mapping(head["rules"]))


@dataclass(frozen=True, slots=True)
class Author:
    """An owner of a partition, as its ledgers name it.

    Where commits are not atomic, each take-over uses a key of its own. A member that the group has put out may still
    write what it was about to write, and must not overwrite or delete its successor's ledger.
    """

    name: str = ""
    turn: int = 0
    former: tuple[bytes, ...] = ()
    """The keys of earlier ledgers, which are not needed any more once this owner's is stored."""
    topic_id: str = ""
    """The id of the topic that this owner reads."""

    @property
    def key(self) -> bytes:
        return b"%s/%s" % (LEDGER_KEY, self.name.encode()) if self.name else LEDGER_KEY

    def records(self, ledger: Ledger) -> list[Outgoing]:
        """Return the records that store the ledger and delete the earlier ones."""
        gone = [Outgoing(key, None) for key in self.former if key != self.key]
        return [Outgoing(self.key, encode_ledger(replace(ledger, topic_id=self.topic_id))), *gone]


FIRST = Author()


def find_ledgers(stored: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the keys of all ledgers in the result of `SnapshotStore.load`."""
    return [key for key in stored if key.split(b"/", 1)[0] == LEDGER_KEY]


def find_ledger(stored: Mapping[bytes, bytes]) -> Ledger | None:
    """Return the latest owner's ledger in the result of `SnapshotStore.load`, or None when there is none."""
    found = [decode_ledger(stored[key]) for key in find_ledgers(stored)]
    return max(found, key=lambda ledger: (ledger.turn, ledger.position), default=None)


def model_records(digest: str, artifact: bytes) -> list[Outgoing]:
    """Return the records that store a model beside the state it computed, so that a later owner can replay with it."""
    return [
        Outgoing(b"%s%s/%d" % (MODEL_PREFIX, digest.encode(), at), part) for at, part in enumerate(cut(seal(artifact)))
    ]


def find_models(stored: Mapping[bytes, bytes]) -> dict[str, list[bytes]]:
    """Return the keys of each model in the result of `SnapshotStore.load`, by the model's digest."""
    found: dict[str, list[bytes]] = {}
    for key in sorted(stored):
        if key.startswith(MODEL_PREFIX):
            found.setdefault(key.split(b"/")[1].decode("ascii", "replace"), []).append(key)
    return found


def read_model(stored: Mapping[bytes, bytes], digest: str) -> bytes:
    """Return the artifact that `model_records` stored. Raises Corrupt when it is not whole, or not there."""
    return unseal(joined(stored, MODEL_PREFIX + digest.encode(), f"the model {digest} stored with the snapshots"))
