"""The envelope of everything in a snapshot store, and checks of the values inside it.

    magic 8 | version u32 | size u64 | blake2b-256 of the body 32 | body          (little-endian)

The contents of the store are treated as data: hostile bytes raise `Corrupt`, and never execute code or hang.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from safetensors import SafetensorError

from anomaly_daemon.errors import Incompatible

MAGIC = b"ADSNAP\r\n"
"""The line end reveals a store that passed the bytes through a text conversion."""
VERSION = 4
"""Version of the envelope. Since version 4 the body states which columns a row has."""
ENVELOPE = struct.Struct("<8sIQ32s")
PART_BYTES = 900_000
"""Largest part in bytes. By default a Kafka broker takes messages of up to 1,048,588 bytes."""
UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError, struct.error)
"""Errors that decoding the body of an envelope may raise. Its checksum matched, so the program that wrote the body was
wrong."""
T = TypeVar("T")


class Corrupt(Incompatible):
    """Stored bytes that are not a snapshot, or not a whole and unchanged one."""


def seal(body: bytes) -> bytes:
    """Return the body in its envelope."""
    return ENVELOPE.pack(MAGIC, VERSION, len(body), hashlib.blake2b(body, digest_size=32).digest()) + body


def unseal(blob: bytes) -> bytes:
    """Return the body of an envelope. Raises Corrupt where it is not whole and unchanged, Incompatible where its
    version is another."""
    size = body_size(blob)
    body = blob[ENVELOPE.size :]
    if len(body) != size:
        raise Corrupt(f"the snapshot should have {size} bytes, and has {len(body)}")
    if hashlib.blake2b(body, digest_size=32).digest() != ENVELOPE.unpack_from(blob)[3]:
        raise Corrupt("the snapshot's checksum does not match: it was changed after it was written")
    return body


def body_size(blob: bytes) -> int:
    """Return the size of the body, after checking magic and version. Raises Corrupt or Incompatible."""
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


def cut(blob: bytes, part_bytes: int = PART_BYTES) -> list[bytes]:
    """Return an envelope in parts that fit a message."""
    return [blob[start : start + part_bytes] for start in range(0, len(blob), part_bytes)]


def joined(stored: Mapping[bytes, bytes], prefix: bytes, what: str) -> bytes:
    """Return the parts `prefix`/0, `prefix`/1, ... joined. Part 0 gives the total size, so parts left over from a
    larger value do no harm. Raises Corrupt where a part is missing."""
    parts: list[bytes] = []
    have, size = 0, ENVELOPE.size
    while have < size:
        part = stored.get(b"%s/%d" % (prefix, len(parts)))
        if not part:
            raise Corrupt(f"{what} is cut short: part {len(parts)} is missing")
        if not parts:
            size = ENVELOPE.size + body_size(part)
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def expect(kind: type[T], value: Any) -> T:
    """Return `value` if it is of this type. Raises TypeError otherwise."""
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected")
    return value


def mapping(value: Any) -> dict[str, Any]:
    return expect(dict, value)


def texts(value: Any) -> tuple[str, ...]:
    return tuple(expect(str, one) for one in expect(list, value))


def whole(value: Any) -> int:
    """Return a finite number as an int. Raises ValueError for infinity and NaN."""
    number = real(value)
    if not math.isfinite(number):
        raise ValueError("a finite number expected")
    return int(number)


def count(value: Any) -> int:
    """Return `value` if it is a count, an offset or a time: an int from 0 to 2**63 - 1. Raises TypeError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise TypeError("a count or offset expected")
    return value


def counts(value: Any) -> tuple[int, ...]:
    return tuple(count(one) for one in expect(list, value))


def real(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number expected")
    return value


def describe(differences: Sequence[str]) -> str:
    """Return what an error says about state of another make, and what to do."""
    return (
        f"the stored state was written under other settings: {'; '.join(differences)}. Set them back, or start "
        "from scratch with a new snapshot.topic and kafka.group_id"
    )
