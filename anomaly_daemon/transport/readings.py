"""Readings, the common form into which every record format is decoded, and the rules for keys and times that the
formats share. Each reading belongs to one row of the batch.

Shapes: N readings, D numeric features, C categorical fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from anomaly_daemon.detection.observation import Float64, Int32, Int64, Presence, UInt8
from anomaly_daemon.transport.columns import KEY_CHARACTERS, number_streams
from anomaly_daemon.transport.rejection import Reason
from anomaly_daemon.transport.times import LATEST, MISSING

Fault = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings in record order. `row_N` is the row of the batch that holds each reading, `index_N` the reading's place
    among those of that row, in the order in which they are judged, and `stream_N` the index of its stream in `keys`."""

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


def no_readings(numeric: int, categorical: int, unknown_metrics: int = 0) -> Readings:
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
    )


def by_time(readings: Readings) -> Readings:
    """Return the readings with those of each message in order of time, and those of one time in the order in which the
    message has them. Places within a message are given in the new order.

    A message that lists the readings of one stream after those of another would otherwise advance the watermark past
    the other's readings, and the other stream would be taken for silent before they are reached.
    """
    order_N = np.lexsort((readings.time_N, readings.row_N))
    if (np.diff(order_N) > 0).all():
        return readings
    keys, stream_N = number_streams([readings.keys[stream] for stream in readings.stream_N[order_N].tolist()])
    return replace(
        readings,
        keys=keys,
        stream_N=stream_N,
        time_N=readings.time_N[order_N],
        values_ND=readings.values_ND[order_N],
        presence_ND=readings.presence_ND[order_N],
        categories_NC=readings.categories_NC[order_N],
    )


def merged(readings: Readings) -> Readings:
    """Return readings of the long shape, of which each holds one metric, with those of one message, stream and time
    merged into one. A metric that a stream has several times at one time begins another reading, unless it has no
    value."""
    N, D = readings.values_ND.shape
    held_ND = readings.presence_ND != Presence.ABSENT
    metric_N = np.where(held_ND.any(axis=1), held_ND.argmax(axis=1), D)
    together = [readings.row_N, readings.stream_N.astype(np.int64), readings.time_N]
    time_of_metric_N = np.where(metric_N < D, _occurrence(np.stack([*together, metric_N], axis=1)), 0)
    _, first_G, group_N = np.unique(
        np.stack([*together, time_of_metric_N], axis=1), axis=0, return_index=True, return_inverse=True
    )
    in_order = np.argsort(first_G)
    place_N = np.argsort(in_order)[group_N.reshape(N)]
    first_G = first_G[in_order]
    values_GD, presence_GD = readings.values_ND[first_G], readings.presence_ND[first_G]
    at_N = np.flatnonzero(metric_N < D)
    values_GD[place_N[at_N], metric_N[at_N]] = readings.values_ND[at_N, metric_N[at_N]]
    presence_GD[place_N[at_N], metric_N[at_N]] = readings.presence_ND[at_N, metric_N[at_N]]
    return replace(
        readings,
        row_N=readings.row_N[first_G],
        index_N=readings.index_N[first_G],
        stream_N=readings.stream_N[first_G],
        time_N=readings.time_N[first_G],
        values_ND=values_GD,
        presence_ND=presence_GD,
        categories_NC=readings.categories_NC[first_G],
    )


def _occurrence(rows_NK: Int64) -> Int64:
    """Return how many equal rows come before each row [N]."""
    _, group_N = np.unique(rows_NK, axis=0, return_inverse=True)
    order = np.argsort(group_N, axis=None, kind="stable")
    sorted_N = group_N.reshape(-1)[order]
    begins_N = np.searchsorted(sorted_N, sorted_N)
    occurrence_N = np.empty(len(order), np.int64)
    occurrence_N[order] = np.arange(len(order)) - begins_N
    return occurrence_N


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
