"""Readings, the common form into which every record format is decoded, and the rules for keys and times that the
formats share. Each reading belongs to one row of the batch.

Shapes: N readings, D numeric features, C categorical fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from anomaly_daemon.detection.observation import Float64, Int32, Int64, UInt8
from anomaly_daemon.transport.columns import KEY_CHARACTERS
from anomaly_daemon.transport.rejection import Reason
from anomaly_daemon.transport.times import LATEST, MISSING

Fault = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings in record order. `row_N` is the row of the batch that holds each reading, `index_N` the reading's place
    within that row, and `stream_N` the index of its stream in `keys`."""

    row_N: Int64
    index_N: Int32
    keys: tuple[str, ...]
    stream_N: Int32
    time_N: Int64
    values_ND: Float64
    presence_ND: UInt8
    categories_NC: Int64
    category_names: Mapping[int, str] = field(default_factory=dict)
    unknown_metrics: int = 0
    no_records: int = 0
    """Messages that could be read and hold no record."""


def no_readings(numeric: int, categorical: int, unknown_metrics: int = 0, no_records: int = 0) -> Readings:
    return Readings(
        np.zeros(0, np.int64),
        np.zeros(0, np.int32),
        (),
        np.zeros(0, np.int32),
        np.zeros(0, np.int64),
        np.zeros((0, numeric)),
        np.zeros((0, numeric), np.uint8),
        np.zeros((0, categorical), np.int64),
        {},
        unknown_metrics,
        no_records,
    )


def record_key(key: bytes | None) -> str | Fault:
    """Return the stream that a record's own key names, or why it names none."""
    if not key:
        return Reason.MISSING_KEY, "the record has no key: set stream.key, or have the producer set one"
    try:
        return checked_key(key.decode("utf-8"))
    except UnicodeDecodeError as fault:
        return Reason.BAD_KEY, f"the record key is not UTF-8: {fault}"


def checked_key(key: str) -> str | Fault:
    """Return the key if it can be stored and displayed, or else why it cannot."""
    if len(key) > KEY_CHARACTERS:
        return Reason.BAD_KEY, f"the stream key has {len(key)} characters, more than {KEY_CHARACTERS}"
    if not key.isascii():
        try:
            key.encode("utf-8")
        except UnicodeEncodeError:
            return Reason.BAD_KEY, "the stream key holds half a character (a lone surrogate)"
    return key


def time_fault(time: int, append: int, ahead_limit: float) -> Fault | None:
    """Return why an event time is refused, or None. Without an append time (`append` below 0) a time is never too far
    ahead."""
    if time == MISSING:
        return Reason.MISSING_TIME, "the record has no time: stream.time must name the field that holds it"
    if not 0 <= time <= LATEST:
        return Reason.BAD_TIME, "the time cannot be read, or is before 1970 or after 9999: see stream.time_unit"
    if append >= 0 and time - append > ahead_limit * 1e6:
        seconds = (time - append) / 1e6
        return Reason.TIME_AHEAD, f"{seconds:.0f} s past its append time, stream.ahead_limit_seconds: {ahead_limit:g}"
    return None


def time_fits(time_N: Int64, append_N: Int64, ahead_limit: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each time is accepted: where `time_fault` would return None [N]."""
    ahead_N = (append_N >= 0) & (time_N - append_N > ahead_limit * 1e6)
    return np.asarray((time_N >= 0) & (time_N <= LATEST) & ~ahead_N)
