"""Converts state to bytes and back: versioned, sized, checksummed, without pickle (law L12).

State of another make (`Make`) is refused. The snapshot store of an input partition holds three sorts of record, all in
the same envelope:

* a *bucket*, keys `bucket/<number>/<part>`: the state of the streams of one bucket. Its body is a JSON head (make,
  position, stream keys, extra numbers) and a safetensors block. A large one is cut into parts that fit a message. Where
  commits are not atomic, every other version of a bucket is stored in a second slot, `bucket/<number>.1/<part>`, so
  that one whole version survives a crash between two parts.
* the *ledger*, key `ledger`: one table for the partition, in every commit. See `checkpoint.ledger`.
* a *model*, keys `model/<digest>/<part>`: each model that was in force since the oldest stored state.
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
"""Settings in `Make.decides` that identify whose state it is. State without them is from before they were stored."""


@dataclass(frozen=True, slots=True)
class Make:
    """The model, format and settings that state belongs to. State of another make has no meaning here (law L9).

    `decides` holds each setting that decides what the numbers mean, by its name in the configuration.
    """

    model: str
    state_format: int
    decides: Mapping[str, str] = field(default_factory=dict)

    def differences(self, other: Make) -> list[str]:
        """Return what differs besides the model, as texts for the operator. `other` is the make that was found. The
        `PLACES` are compared only where both makes have them."""
        names = sorted(set(self.decides) | set(other.decides))
        shared = self.decides.keys() & other.decides.keys()
        names = [name for name in names if name in shared or name not in PLACES]
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
    """The streams of one bucket, in their state before the record at `position`."""

    make: Make
    bucket: int
    position: int
    state: Exported
    slot: int = 0
    """The slot that the bucket is stored in: 0 or 1."""
    turn: int = 0
    """Counts the versions of a bucket. The clock changes state, too (a silence without records), so two versions may be
    at the same position."""


def encode_bucket(bucket: Bucket) -> bytes:
    """Return the bytes of a bucket, which `decode_bucket` reads."""
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
    """Read what `encode_bucket` wrote. Raises Corrupt for anything else, Incompatible for another format."""
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
    """Return the records that store a bucket in its slot."""
    parts = cut(encode_bucket(bucket), part_bytes)
    prefix = _prefix(bucket.bucket, bucket.slot)
    return [Outgoing(b"%s/%d" % (prefix, place), part) for place, part in enumerate(parts)]


def _prefix(number: int, slot: int) -> bytes:
    return b"bucket/%d.%d" % (number, slot) if slot else b"bucket/%d" % number


def take_buckets(
    stored: dict[bytes, bytes], buckets: int, most: int | None = None, *, torn: bool = False
) -> list[Bucket]:
    """Return every bucket in the result of `SnapshotStore.load`, its parts joined and checked. Of two slots, the newer
    one counts whose version is whole and not above offset `most`. Raises Corrupt where there are versions, but no
    such one.

    The records of each bucket are removed from `stored` once it is decoded, so that a large partition is not held
    twice. `torn`: where all versions of a bucket are corrupt, there is none, because a crash may have cut its first and
    only version short.
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
    """Return the bucket of this number in a list, or an empty list where there is none."""
    slots = [slot for slot in SLOTS if _prefix(number, slot) + b"/0" in stored]
    versions = [_version(stored, number, slot) for slot in slots]
    whole = [one for one in versions if isinstance(one, Bucket) and (most is None or one.position <= most)]
    if whole:
        return [max(whole, key=lambda one: (one.position, one.turn))]
    if versions and not (torn and all(isinstance(one, Corrupt) for one in versions)):
        raise next((one for one in versions if isinstance(one, Corrupt)), None) or Corrupt(
            f"snapshot bucket {number} is ahead of the committed offset"
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
    """Return a make from JSON values. Raises TypeError or KeyError when it is none."""
    head = mapping(value)
    decides = {name: expect(str, text) for name, text in mapping(head["decides"]).items()}
    return Make(expect(str, head["model"]), count(head["state_format"]), decides)


def _number(value: Any) -> int | float:
    """Return a number of numpy as one of Python, for JSON."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    raise TypeError(f"{value!r} is not a number")
