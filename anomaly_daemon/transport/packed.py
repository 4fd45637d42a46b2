"""The packed format: many readings in one message, read without a Python object per reading.

Little-endian, no padding; docs/input.md shows it byte by byte.

    0   4  magic "ADPK"
    4   1  version, 1
    5   1  bytes of a value: 4 (float32) or 8 (float64)
    6   2  K, stream keys in the message; 0: the message's own key names the one stream
    8   4  N, readings
    12  2  D, values of a reading, in the order of stream.numeric
    14  2  zero
    16     N int64, event times in epoch microseconds
           N·D values, reading by reading; NaN says that a value is missing
           N uint16, each reading's place in the keys (only when K > 0)
           K uint16, the keys' lengths in bytes, and then the keys in UTF-8
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Float64, Int32, Int64

MAGIC = b"ADPK"
VERSION = 1
MOST = 0xFFFF
"""The largest number that fits into 2 bytes: of keys in a message, of values in a reading, of bytes in a key."""
_HEAD = struct.Struct("<4sBBHIHH")
_TYPES: dict[int, np.dtype[np.float32] | np.dtype[np.float64]] = {4: np.dtype("<f4"), 8: np.dtype("<f8")}


class NotPacked(Exception):  # noqa: N818 - a reason, told to whoever reads the dead letter
    """The message does not follow the packed format."""


class TooManyReadings(NotPacked):
    """The message has more readings than `limits.readings_per_record`."""


class Packed(NamedTuple):
    """The readings of one message. `keys` is empty if the message's Kafka key names the stream."""

    keys: tuple[str, ...]
    stream_N: Int32
    time_N: Int64
    values_ND: Float64


def encode(
    times: npt.ArrayLike,
    values: npt.ArrayLike,
    keys: Sequence[str] = (),
    streams: npt.ArrayLike | None = None,
    *,
    value_bytes: int = 8,
) -> bytes:
    """Return a message of N readings: times in epoch µs [N], values [N, D]; `streams` [N] are indices in `keys`.

    Raises ValueError if the arguments do not fit each other or the format, with what to change.
    """
    if value_bytes not in _TYPES:
        raise ValueError(f"value_bytes {value_bytes} must be 4 (float32) or 8 (float64)")
    time_N, values_ND = _int64("times", times), np.asarray(values, dtype=_TYPES[value_bytes])
    if values_ND.ndim != 2 or time_N.shape != values_ND.shape[:1]:
        raise ValueError("values must be [N, D], with a time for each reading")
    if not len(time_N):
        raise ValueError("a message must hold at least one reading")
    texts, D = [key.encode() for key in keys], values_ND.shape[1]
    if max(D, len(texts)) > MOST:
        raise ValueError(f"a message has at most {MOST} values a reading and {MOST} keys: take fewer")
    parts = [
        _HEAD.pack(MAGIC, VERSION, value_bytes, len(texts), len(time_N), D, 0),
        time_N.tobytes(),
        values_ND.tobytes(),
    ]
    if texts:
        stream_N = np.zeros(len(time_N), np.int64) if streams is None else _int64("streams", streams)
        if stream_N.shape != time_N.shape or ((stream_N < 0) | (stream_N >= len(texts))).any():
            raise ValueError("streams must be [N], each the place of a key")
        lengths = np.array([len(text) for text in texts])
        if lengths.max() > MOST:
            raise ValueError(f"a key is at most {MOST} bytes")
        parts += [stream_N.astype("<u2").tobytes(), lengths.astype("<u2").tobytes(), *texts]
    return b"".join(parts)


def _int64(name: str, numbers: npt.ArrayLike) -> Int64:
    """Return the whole numbers. numpy would wrap unsigned ones past int64 and floats that int64 does not hold, and
    would take times of its own for numbers of their unit, whatever that is. Raises ValueError."""
    given = np.asarray(numbers)
    if given.dtype.kind in "mM":
        raise ValueError(
            f"{name} must be numbers, not {given.dtype}: of times, .astype('datetime64[us]').astype('int64')"
        )
    if given.dtype.kind in "uf" and not np.all((given >= -(2.0**63)) & (given < 2.0**63)):
        raise ValueError(f"{name} must be numbers of 64 bits")
    try:
        return np.asarray(numbers, dtype="<i8")
    except OverflowError as error:
        raise ValueError(f"{name} must be numbers of 64 bits") from error


REMEMBERED_BYTES = 4096
"""Longer blocks of keys are not cached. A thousand blocks of this size take a few MB."""


def decode(message: bytes, features: int, most: int) -> Packed:
    """Return the readings of a message that must have `features` values per reading, and at most `most` readings.
    Raises NotPacked with what is wrong.

    The sizes in the head are checked against the length of the message before any array is made.
    """
    if len(message) < _HEAD.size:
        raise NotPacked(f"{len(message)} bytes are less than the head of {_HEAD.size}")
    magic, version, value_bytes, K, N, D, zero = _HEAD.unpack_from(message)
    _refuse(magic != MAGIC, f"it begins with {magic!r}, not {MAGIC!r}")
    _refuse(version != VERSION, f"version {version} is not {VERSION}")
    _refuse(value_bytes not in _TYPES, f"values of {value_bytes} bytes: must be 4 or 8")
    _refuse(features != D, f"{D} values a reading, where stream.numeric names {features}")
    _refuse(zero != 0 or N == 0, "it holds no readings" if N == 0 else "reserved bytes are set")
    if most < N:
        raise TooManyReadings(f"{N} readings, where limits.readings_per_record is {most}")
    values_at = _HEAD.size + 8 * N
    streams_at = values_at + value_bytes * N * D
    keys_at = streams_at + 2 * N + 2 * K if K else streams_at
    _refuse(len(message) < keys_at, f"{len(message)} bytes are too few for {N} readings of {D} values")
    time_N = np.frombuffer(message, "<i8", N, _HEAD.size)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like any other
        values_ND = np.frombuffer(message, _TYPES[value_bytes], N * D, values_at).reshape(N, D).astype(np.float64)
    if K == 0:
        _refuse(len(message) != keys_at, f"{len(message) - keys_at} bytes too many")
        return Packed((), np.zeros(N, np.int32), time_N, values_ND)
    stream_N = np.frombuffer(message, "<u2", N, streams_at).astype(np.int32)
    _refuse(int(stream_N.max()) >= K, f"a reading of stream {int(stream_N.max())}, where there are {K} keys")
    return Packed(_keys(message, K, keys_at), stream_N, time_N, values_ND)


def _keys(message: bytes, K: int, at: int) -> tuple[str, ...]:
    block = message[at - 2 * K :]
    return _remembered(block, K) if len(block) <= REMEMBERED_BYTES else _texts(block, K)


def _texts(block: bytes, K: int) -> tuple[str, ...]:
    """Return the keys in a block that holds their lengths and then their bytes."""
    ends = 2 * K + np.cumsum(np.frombuffer(block, "<u2", K), dtype=np.int64)
    last, there = int(ends[-1]) - 2 * K, len(block) - 2 * K
    _refuse(last != there, f"the keys end at byte {last} of {there}, counted from the first of them")
    starts = [2 * K, *ends[:-1].tolist()]
    try:
        return tuple(block[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=True))
    except UnicodeDecodeError as fault:
        raise NotPacked(f"a stream key is not UTF-8: {fault}") from fault


_remembered = lru_cache(maxsize=1024)(_texts)
"""Cached, since a gateway sends the same keys in every message."""


def _refuse(wrong: bool, detail: str) -> None:
    if wrong:
        raise NotPacked(detail)
