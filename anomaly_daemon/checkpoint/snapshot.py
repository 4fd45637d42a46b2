"""State to bytes and back: versioned, sized, checksummed, without pickle (law L12), and refused when of another make.

Three sorts of record stand in an input partition's snapshot store, all in the same envelope:

* a *bucket*, keys `bucket/<number>/<part>`: the state of the streams of one bucket. Its body is a JSON head (make,
  position, stream keys, extra numbers) and a safetensors block. A large one is cut into parts that fit a message. Where
  a commit is not atomic, every other version of a bucket stands in a second slot, `bucket/<number>.1/<part>`, so that
  one whole version survives a crash between two parts.
* the *ledger*, key `ledger`: one table for the partition, in every commit. See `checkpoint.ledger`.
* a *model*, keys `model/<digest>/<part>`: each that was in force since the oldest state stored.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import safetensors.numpy

from anomaly_daemon.checkpoint.envelope import (
    PART_BYTES,
    UNREADABLE,
    Corrupt,
    count,
    counts,
    cut,
    expect,
    joined,
    mapping,
    real,
    seal,
    texts,
    unseal,
)
from anomaly_daemon.detection.columns import Table
from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.transport.ports import Outgoing

LENGTH = struct.Struct("<I")
SLOTS = (0, 1)
PLACES = frozenset({"source.topic", "kafka.group_id"})
"""Of what a make decides: whose the state is. State that does not say so is from before it did."""


@dataclass(frozen=True, slots=True)
class Make:
    """What state belongs to. State of another make means nothing here (law L9).

    `decides` holds each setting that decides what the numbers mean, by its name in the configuration.
    """

    model: str
    state_format: int
    decides: Mapping[str, str] = field(default_factory=dict)

    def differences(self, other: Make) -> list[str]:
        """What differs besides the model, in the operator's words; `other` is the one that was found."""
        names = sorted(set(self.decides) | set(other.decides))
        told = self.decides.keys() & other.decides.keys()
        names = [name for name in names if name in told or name not in PLACES]
        found = [
            f"{name} was {other.decides.get(name, 'not set')!r} and is {self.decides.get(name, 'not set')!r}"
            for name in names
            if self.decides.get(name) != other.decides.get(name)
        ]
        if self.state_format != other.state_format:
            found.insert(0, f"the state format was {other.state_format} and is {self.state_format}")
        return found


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket's streams, as they stood before the record at `position`."""

    make: Make
    bucket: int
    position: int
    state: Exported
    slot: int = 0
    """Where it is stored: 0 or 1."""
    turn: int = 0
    """Counts the versions of a bucket. The clock changes a state too (a silence without records), so two of them may
    stand at one offset."""


def encode_bucket(bucket: Bucket) -> bytes:
    """The bytes of a bucket; `decode_bucket` gives it back."""
    head = {
        "make": asdict(bucket.make),
        "bucket": bucket.bucket,
        "position": bucket.position,
        "turn": bucket.turn,
        "keys": list(bucket.state.keys),
        "extra": dict(bucket.state.extra),
    }
    if bucket.state.columns:
        head["columns"] = bucket.state.columns
    text = json.dumps(head, separators=(",", ":"), default=_number).encode()
    arrays = {name: np.ascontiguousarray(array) for name, array in bucket.state.arrays.items()}
    return seal(LENGTH.pack(len(text)) + text + safetensors.numpy.save(arrays))


def decode_bucket(blob: bytes) -> Bucket:
    """Read a bucket. Raises Corrupt for anything but what `encode_bucket` wrote."""
    body = unseal(blob)
    try:
        (length,) = LENGTH.unpack_from(body)
        head = mapping(json.loads(body[LENGTH.size : LENGTH.size + length]))
        arrays = safetensors.numpy.load(body[LENGTH.size + length :])
        keys = list(texts(head["keys"]))
        extra = {name: real(number) for name, number in mapping(head["extra"]).items()}
        state = Exported(keys, arrays, extra, _columns(head.get("columns", {})))
        turn = count(head.get("turn", 0))
        return Bucket(read_make(head["make"]), count(head["bucket"]), count(head["position"]), state, turn=turn)
    except UNREADABLE as error:
        raise Corrupt(f"unreadable snapshot bucket: {error}") from error


def bucket_records(bucket: Bucket, part_bytes: int = PART_BYTES) -> list[Outgoing]:
    """The records that store a bucket."""
    parts = cut(encode_bucket(bucket), part_bytes)
    prefix = _prefix(bucket.bucket, bucket.slot)
    return [Outgoing(b"%s/%d" % (prefix, place), part) for place, part in enumerate(parts)]


def _prefix(number: int, slot: int) -> bytes:
    return b"bucket/%d.%d" % (number, slot) if slot else b"bucket/%d" % number


def take_buckets(
    stored: dict[bytes, bytes], buckets: int, most: int | None = None, *, torn: bool = False
) -> list[Bucket]:
    """Every bucket of what `SnapshotStore.load` gave, its parts joined and checked: of two slots the newer version that
    is whole, and does not stand above offset `most`. Raises Corrupt where there is a version, but none like that.

    Each is gone from `stored` once it is decoded: a large partition is not held twice. `torn`: a crash may have cut short
    the only version there is, its first; then there is none.
    """
    keys: dict[bytes, list[bytes]] = {}
    for key in stored:
        if key.startswith(b"bucket/"):
            keys.setdefault(key.rpartition(b"/")[0], []).append(key)
    found = []
    for number in range(buckets):
        found += _find_bucket(stored, number, most, torn)
        for slot in SLOTS:
            for key in keys.get(_prefix(number, slot), ()):
                del stored[key]
    return found


def _find_bucket(stored: Mapping[bytes, bytes], number: int, most: int | None, torn: bool) -> list[Bucket]:
    """One, or none."""
    slots = [slot for slot in SLOTS if _prefix(number, slot) + b"/0" in stored]
    versions = [_version(stored, number, slot) for slot in slots]
    whole = [one for one in versions if isinstance(one, Bucket) and (most is None or one.position <= most)]
    if whole:
        return [max(whole, key=lambda one: (one.position, one.turn))]
    if versions and not (torn and all(isinstance(one, Corrupt) for one in versions)):
        raise next((one for one in versions if isinstance(one, Corrupt)), None) or Corrupt(
            f"snapshot bucket {number} stands above the committed offset"
        )
    return []


def _version(stored: Mapping[bytes, bytes], number: int, slot: int) -> Bucket | Corrupt:
    try:
        bucket = decode_bucket(joined(stored, _prefix(number, slot), f"snapshot bucket {number}"))
    except Corrupt as error:
        return error
    if bucket.bucket != number:
        return Corrupt(f"snapshot bucket {number} holds bucket {bucket.bucket}")
    return replace(bucket, slot=slot)


def _columns(value: Any) -> Table:
    return {
        block: {name: list(counts(shape)) for name, shape in mapping(shapes).items()}
        for block, shapes in mapping(value).items()
    }


def read_make(value: Any) -> Make:
    """A make out of JSON; a TypeError or KeyError when it is none."""
    head = mapping(value)
    decides = {name: expect(str, text) for name, text in mapping(head["decides"]).items()}
    return Make(expect(str, head["model"]), count(head["state_format"]), decides)


def _number(value: Any) -> int | float:
    """numpy's numbers as Python's, for JSON."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    raise TypeError(f"{value!r} is not a number")
