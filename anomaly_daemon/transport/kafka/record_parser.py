"""The records within one record batch of Kafka's message format 2, as columns: no Python object per record but its bytes.

    Record => Length Attributes TimestampDelta OffsetDelta KeyLength Key ValueLength Value HeaderCount Headers

All numbers but the attributes (one byte) are zigzag varints, as in Protocol Buffers. Where a record begins depends on the
length of the one before it, so they are read one after the other, by compiled code.

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
"""Octets of a number of 64 bits; the last has one of them."""


class Fields(NamedTuple):
    """What the records hold; none of them has headers."""

    timestamp_delta_N: Int64
    offset_delta_N: Int64
    keys: list[bytes | None]
    values: list[bytes | None]


class Spans(NamedTuple):
    """Where it stands. A key or value that there is none of begins and ends at -1."""

    timestamp_delta_N: Int64
    offset_delta_N: Int64
    key_N: Int64
    key_end_N: Int64
    value_N: Int64
    value_end_N: Int64


def parse(body: bytes, count: int) -> Fields | None:
    """The records of a batch's uncompressed body. None where one has headers, or anything is not as it should be: whoever
    reads them one by one will say what."""
    if not 1 <= count <= len(body):  # no room is made for more than there can be
        return None
    found = Spans(*np.empty((len(Spans._fields), count), np.int64))
    if not _spans(np.frombuffer(body, np.uint8), found):
        return None
    keys, values = _pieces(body, found.key_N, found.key_end_N), _pieces(body, found.value_N, found.value_end_N)
    return Fields(found.timestamp_delta_N, found.offset_delta_N, keys, values)


def warm() -> None:
    """Have what is compiled at its first call ready before a record comes."""
    parse(bytes(1), 1)


@compiled
def _spans(octets: Bytes, found: Spans) -> bool:
    """Whether so many plain records fill the octets exactly."""
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
    """Where a key or value begins and ends, whose length stands here, and the place after it; 0 where it is not sound, or
    what came before was not."""
    length, at = varint(octets, at, end) if at > 0 else (0, 0)
    if at == 0 or length < -1 or length > end - at:
        return 0, 0, 0
    return (-1, -1, at) if length < 0 else (at, at + length, at + length)


@compiled
def varint(octets: Bytes, at: int, end: int) -> tuple[Any, int]:
    """The number here, and the place after it: 0 where it goes on past `end`, or past 64 bits."""
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
    """The bytes between the places; None where there are none."""
    if (begin_N < 0).all():
        return [None] * len(begin_N)
    pieces: list[bytes | None] = [
        body[begin:stop] for begin, stop in zip(begin_N.tolist(), stop_N.tolist(), strict=True)
    ]
    for place in np.flatnonzero(begin_N < 0).tolist():
        pieces[place] = None
    return pieces
