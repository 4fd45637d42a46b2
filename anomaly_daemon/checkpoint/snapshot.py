"""State to bytes and back: versioned, sized, checksummed, without pickle (law L12), and refused when of another make.

Two sorts of record stand in an input partition's snapshot store, both in the same envelope:

    magic 8 | version u32 | size u64 | blake2b-256 of the body 32 | body          (little-endian)

* a *bucket*, keys `bucket/<number>/<part>`: the state of the streams of one bucket. Its body is a JSON head (make,
  position, stream keys, extra numbers) and a safetensors block. A large one is cut into parts that fit a message.
* the *ledger*, key `ledger`: one table for the partition, in every commit. See `Ledger`.

Whatever stands in the store is data: hostile bytes give a `Corrupt`, never code execution and never a hang.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.ports import Outgoing

MAGIC = b"ADSNAP\r\n"
"""The line end shows a store that passed the bytes through a text conversion."""
VERSION = 1
ENVELOPE = struct.Struct("<8sIQ32s")
T = TypeVar("T")
LENGTH = struct.Struct("<I")
LEDGER_KEY = b"ledger"
PART_BYTES = 900_000
"""A Kafka broker takes messages of 1,048,588 bytes unless told otherwise."""


class Corrupt(Incompatible):
    """A snapshot that was cut short or changed after it was written."""


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
    held: tuple[str, ...] = ()
    """Ids of open alerts that were held back by the alert cap: their later messages are held back too."""
    unreported: int = 0
    """Alerts held back since the last digest."""


def encode_bucket(bucket: Bucket) -> bytes:
    """The bytes of a bucket; `decode_bucket` gives it back."""
    head = {
        "make": asdict(bucket.make),
        "bucket": bucket.bucket,
        "position": bucket.position,
        "keys": list(bucket.state.keys),
        "extra": dict(bucket.state.extra),
    }
    text = json.dumps(head, separators=(",", ":"), default=_number).encode()
    arrays = {name: np.ascontiguousarray(array) for name, array in bucket.state.arrays.items()}
    return _seal(LENGTH.pack(len(text)) + text + safetensors.numpy.save(arrays))


def decode_bucket(blob: bytes) -> Bucket:
    """Read a bucket. Raises Corrupt for anything but what `encode_bucket` wrote."""
    body = _open(blob)
    try:
        (length,) = LENGTH.unpack_from(body)
        head = _object(json.loads(body[LENGTH.size : LENGTH.size + length]))
        arrays = safetensors.numpy.load(body[LENGTH.size + length :])
        keys = [_is(str, key) for key in _is(list, head["keys"])]
        extra = {name: _real(number) for name, number in _object(head["extra"]).items()}
        return Bucket(
            _make(head["make"]), _offset(head["bucket"]), _offset(head["position"]), Exported(keys, arrays, extra)
        )
    except _UNREADABLE as error:
        raise Corrupt(f"unreadable snapshot bucket: {error}") from error


def encode_ledger(ledger: Ledger) -> bytes:
    """The bytes of a ledger; `decode_ledger` gives it back."""
    return _seal(json.dumps(asdict(ledger), separators=(",", ":")).encode())


def decode_ledger(blob: bytes) -> Ledger:
    """Read a ledger. Raises Corrupt for anything but what `encode_ledger` wrote."""
    try:
        head = _object(json.loads(_open(blob)))
        floors = tuple(_offset(floor) for floor in _is(list, head["floors"]))
        held = tuple(_is(str, alert) for alert in _is(list, head["held"]))
        return Ledger(_make(head["make"]), _offset(head["position"]), floors, held, _offset(head["unreported"]))
    except _UNREADABLE as error:
        raise Corrupt(f"unreadable snapshot ledger: {error}") from error


def bucket_records(bucket: Bucket, part_bytes: int = PART_BYTES) -> list[Outgoing]:
    """The records that store a bucket. A part left over from a larger one is not in the way: part 0 tells the size."""
    blob = encode_bucket(bucket)
    parts = [blob[start : start + part_bytes] for start in range(0, len(blob), part_bytes)]
    return [Outgoing(b"bucket/%d/%d" % (bucket.bucket, place), part) for place, part in enumerate(parts)]


def ledger_record(ledger: Ledger) -> Outgoing:
    return Outgoing(LEDGER_KEY, encode_ledger(ledger))


def find_ledger(stored: Mapping[bytes, bytes]) -> Ledger | None:
    """The ledger of what `SnapshotStore.load` gave, or None when there is none."""
    blob = stored.get(LEDGER_KEY)
    return None if blob is None else decode_ledger(blob)


def find_buckets(stored: Mapping[bytes, bytes], buckets: int) -> list[Bucket]:
    """Every bucket of what `SnapshotStore.load` gave, its parts joined and checked."""
    found = []
    for number in range(buckets):
        if b"bucket/%d/0" % number in stored:
            bucket = decode_bucket(_join(stored, number))
            if bucket.bucket != number:
                raise Corrupt(f"snapshot bucket {number} holds bucket {bucket.bucket}")
            found.append(bucket)
    return found


def _join(stored: Mapping[bytes, bytes], number: int) -> bytes:
    parts: list[bytes] = []
    have, size = 0, ENVELOPE.size
    while have < size:
        part = stored.get(b"bucket/%d/%d" % (number, len(parts)))
        if not part:
            raise Corrupt(f"snapshot bucket {number} is cut short: part {len(parts)} is missing")
        if not parts:
            size = ENVELOPE.size + _size(part)
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _seal(body: bytes) -> bytes:
    return ENVELOPE.pack(MAGIC, VERSION, len(body), hashlib.blake2b(body, digest_size=32).digest()) + body


def _size(blob: bytes) -> int:
    """The size of the body, from a checked envelope."""
    if len(blob) < ENVELOPE.size:
        raise Corrupt(f"a snapshot of {len(blob)} bytes is cut short")
    magic, version, size, _ = ENVELOPE.unpack_from(blob)
    if magic != MAGIC:
        raise Corrupt("not a snapshot: is snapshot.topic the topic of something else?")
    if version != VERSION:
        raise Incompatible(
            f"the snapshot has format {version}, this program writes {VERSION}: "
            "run the program that wrote it, or name a new snapshot.topic"
        )
    return int(size)


def _open(blob: bytes) -> bytes:
    size = _size(blob)
    body = blob[ENVELOPE.size :]
    if len(body) != size:
        raise Corrupt(f"a snapshot of {size} bytes has {len(body)}")
    if hashlib.blake2b(body, digest_size=32).digest() != ENVELOPE.unpack_from(blob)[3]:
        raise Corrupt("the snapshot's checksum does not match: it was changed after it was written")
    return body


_UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError, struct.error)


def _number(value: Any) -> int | float:
    """numpy's numbers as Python's, for JSON."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def _is(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected")
    return value


def _object(value: Any) -> dict[str, Any]:
    return _is(dict, value)


def _offset(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("a count or offset expected")
    return value


def _real(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number expected")
    return value


def _make(value: Any) -> Make:
    head = _object(value)
    decides = {name: _is(str, text) for name, text in _object(head["decides"]).items()}
    return Make(_is(str, head["model"]), _offset(head["state_format"]), decides)


def describe(differences: Sequence[str]) -> str:
    """What to do about state of another make."""
    return (
        f"the stored state is of another make: {'; '.join(differences)}. Set it back, or name a new snapshot.topic "
        "and kafka.group_id to begin anew"
    )
