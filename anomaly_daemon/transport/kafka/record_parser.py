"""The records within one record batch of Kafka's message format 2, as columns: no Python object per record but its bytes.

    Record => Length Attributes TimestampDelta OffsetDelta KeyLength Key ValueLength Value HeaderCount Headers

All numbers but the attributes (one byte) are zigzag varints, as in Protocol Buffers. Where a record begins depends on the
length of the one before it, so those are read one after the other; everything else is read of all records at once.

Shapes: N records.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Int64

Bytes = npt.NDArray[np.uint8]

LONGEST_VARINT = 10
"""Bytes of a number of 64 bits."""


class Fields(NamedTuple):
    """What the records hold; none of them has headers."""

    timestamp_delta_N: Int64
    offset_delta_N: Int64
    keys: list[bytes | None]
    values: list[bytes | None]


def parse(body: bytes, count: int) -> Fields | None:
    """The records of a batch's uncompressed body. None where one has headers, or anything is not as it should be: whoever
    reads them one by one will say what."""
    bounds = _bounds(body, count)
    if bounds is None:
        return None
    start_N, end_N = bounds
    octets = np.frombuffer(body, np.uint8)
    timestamp_delta_N, at_N = varints(octets, start_N + 1)  # past the attributes, which have no meaning yet
    offset_delta_N, at_N = varints(octets, at_N)
    key_length_N, key_N = varints(octets, at_N)
    key_end_N = key_N + np.maximum(key_length_N, 0)
    value_length_N, value_N = varints(octets, key_end_N)
    value_end_N = value_N + np.maximum(value_length_N, 0)
    plain = (octets[np.minimum(start_N, len(octets) - 1)] == 0) & (
        value_end_N + 1 == end_N
    )  # no attributes, no headers
    plain &= (key_end_N >= key_N) & (value_N > key_end_N) & (value_end_N >= value_N) & (key_N > start_N)
    if not plain.all() or octets[end_N - 1].any() or min(key_length_N.min(), value_length_N.min()) < -1:
        return None
    keys, values = (
        _pieces(body, length_N, begin_N, stop_N)
        for length_N, begin_N, stop_N in ((key_length_N, key_N, key_end_N), (value_length_N, value_N, value_end_N))
    )
    return Fields(timestamp_delta_N, offset_delta_N, keys, values)


def _bounds(body: bytes, count: int) -> tuple[Int64, Int64] | None:
    """Where each record's content begins and ends; None when they do not fill the body exactly."""
    starts, ends, at = [], [], 0
    try:
        for _ in range(count):
            octet = body[at]
            length, shift, at = octet & 0x7F, 7, at + 1
            while octet > 0x7F:
                octet = body[at]
                length |= (octet & 0x7F) << shift
                shift, at = shift + 7, at + 1
            starts.append(at)
            at += length >> 1  # zigzag: the lowest bit of what is not negative is 0
            ends.append(at)
    except IndexError:
        return None
    return (np.array(starts, np.int64), np.array(ends, np.int64)) if starts and at == len(body) else None


def varints(octets: Bytes, at_N: Int64) -> tuple[Int64, Int64]:
    """The zigzag varint at each of these places, and the places after them. A place past the end counts as the last byte:
    what is read there is wrong, and so is where it ends."""
    number_N, more_N = np.zeros(len(at_N), np.uint64), np.ones(len(at_N), bool)
    at_N = at_N.copy()
    for place in range(LONGEST_VARINT):
        octet_N = np.where(more_N, octets[np.clip(at_N, 0, len(octets) - 1)], 0)
        number_N |= (octet_N & 0x7F).astype(np.uint64) << np.uint64(7 * place)
        at_N += more_N
        more_N = octet_N > 0x7F
        if not more_N.any():
            break
    return (number_N >> np.uint64(1)).astype(np.int64) ^ -(number_N & np.uint64(1)).astype(np.int64), at_N


def _pieces(body: bytes, length_N: Int64, begin_N: Int64, stop_N: Int64) -> list[bytes | None]:
    """The bytes between the places; None where the length is -1."""
    if (length_N < 0).all():
        return [None] * len(length_N)
    pieces: list[bytes | None] = [
        body[begin:stop] for begin, stop in zip(begin_N.tolist(), stop_N.tolist(), strict=True)
    ]
    for place in np.flatnonzero(length_N < 0).tolist():
        pieces[place] = None
    return pieces
