"""Parses the records of one record batch of Kafka's message format 2 as columns.

No Python object is created per record except its key's and value's bytes.

    Record => Length Attributes TimestampDelta OffsetDelta KeyLength Key ValueLength Value HeaderCount Headers

All numbers but the attributes (one byte) are zigzag varints, as in Protocol Buffers. Where a record begins depends on
the length of the one before it, so compiled code reads them one after the other.

Shapes: N records.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Int64

Bytes = npt.NDArray[np.uint8]

LONGEST_VARINT = 10
"""Octets of a varint of 64 bits, at most. The last of them holds one bit."""


class Fields(NamedTuple):
    """The fields of the records, none of which has headers."""

    timestamp_delta_N: Int64
    offset_delta_N: Int64
    keys: list[bytes | None]
    values: list[bytes | None]


class Spans(NamedTuple):
    """The numbers of each record, and where its key and value begin and end in the body. Both places are -1 where there
    is no key or value."""

    timestamp_delta_N: Int64
    offset_delta_N: Int64
    key_N: Int64
    key_end_N: Int64
    value_N: Int64
    value_end_N: Int64


def parse(body: bytes, count: int) -> Fields | None:
    """Return the records of a batch's uncompressed body. Returns None where a record has headers or anything is
    malformed; reading the records one by one then shows what is wrong."""
    if not 1 <= count <= len(body):  # no room is made for more records than there can be
        return None
    found = Spans(*np.empty((len(Spans._fields), count), np.int64))
    if not _spans(np.frombuffer(body, np.uint8), found):
        return None
    keys, values = _pieces(body, found.key_N, found.key_end_N), _pieces(body, found.value_N, found.value_end_N)
    return Fields(found.timestamp_delta_N, found.offset_delta_N, keys, values)


def warm() -> None:
    """Parse once, so that the code that is compiled at its first call is ready before a record arrives."""
    parse(bytes(1), 1)


@compiled
def _spans(octets: Bytes, found: Spans) -> bool:
    """Fill `found`. Returns whether that many plain records fill the octets exactly."""
    at = 0
    for n in range(len(found.key_N)):
        length, at = varint(octets, at, len(octets))
        if at == 0 or length < 1 or length > len(octets) - at or octets[at] != 0:  # no attribute has a meaning yet
            return False
        end = at + length
        found.timestamp_delta_N[n], at = varint(octets, at + 1, end)
        found.offset_delta_N[n], at = varint(octets, at, end) if at > 0 else (0, 0)
        found.key_N[n], found.key_end_N[n], at = _span(octets, at, end)
        found.value_N[n], found.value_end_N[n], at = _span(octets, at, end)
        if at == 0 or at + 1 != end or octets[at] != 0:  # no headers
            return False
        at = end
    return at == len(octets)


@compiled
def _span(octets: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return where a key or value begins and ends whose length is stored at `at`, and the place after it. That place is
    0 where the length is not valid, or where `at` is 0 because a field before it was not."""
    length, at = varint(octets, at, end) if at > 0 else (0, 0)
    if at == 0 or length < -1 or length > end - at:
        return 0, 0, 0
    return (-1, -1, at) if length < 0 else (at, at + length, at + length)


@compiled
def varint(octets: Bytes, at: int, end: int) -> tuple[Any, int]:
    """Return the number at `at`, and the place after it. That place is 0 where the number extends past `end`, or past
    64 bits."""
    number = np.uint64(0)
    for place in range(LONGEST_VARINT):
        if at >= end:
            return 0, 0
        octet = octets[at]
        number |= np.uint64(octet & 0x7F) << np.uint64(7 * place)
        at += 1
        if octet <= 0x7F:
            sound = place < LONGEST_VARINT - 1 or octet <= 1
            return np.int64(number >> np.uint64(1)) ^ -np.int64(number & np.uint64(1)), at if sound else 0
    return 0, 0


def _pieces(body: bytes, begin_N: Int64, stop_N: Int64) -> list[bytes | None]:
    """Return the bytes between the places; None where a place is negative."""
    if (begin_N < 0).all():
        return [None] * len(begin_N)
    pieces: list[bytes | None] = [
        body[begin:stop] for begin, stop in zip(begin_N.tolist(), stop_N.tolist(), strict=True)
    ]
    for place in np.flatnonzero(begin_N < 0).tolist():
        pieces[place] = None
    return pieces
