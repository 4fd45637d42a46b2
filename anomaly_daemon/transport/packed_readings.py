"""Reads the readings of packed messages. A message is accepted or rejected as a whole."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport import packed
from anomaly_daemon.transport.columns import KEY_CHARACTERS, present
from anomaly_daemon.transport.missing import ValueFilter
from anomaly_daemon.transport.ports import RecordBatch
from anomaly_daemon.transport.readings import (
    Fault,
    Readings,
    checked_key,
    no_readings,
    record_key,
    time_fault,
    time_fits,
)
from anomaly_daemon.transport.rejection import Reason, Rejections
from anomaly_daemon.transport.shaping import ordered, time_order


class PackedReadings:
    """Reads the batches of one deployment whose format is packed."""

    def __init__(self, stream: StreamSettings, readings_per_record: int) -> None:
        self._stream, self._most, self._filter = stream, readings_per_record, ValueFilter(stream)

    def read(self, batch: RecordBatch, rows: Int64, rejections: Rejections) -> Readings:
        """Return the readings of `rows`, message by message. Each of the rows is in the readings or in `rejections`."""
        places: dict[str, int] = {}
        found: list[tuple[int, packed.Packed, Int64]] = []
        for row in rows.tolist():
            message = self._message(batch, row)
            if isinstance(message, packed.Packed):
                found.append((row, message, _streams(message, places)))
            else:
                rejections.add(row, *message)
        if not found:
            return no_readings(len(self._stream.numeric), 0)
        counts = [len(message.time_N) for _, message, _ in found]
        raw_ND = np.concatenate([message.values_ND for _, message, _ in found])
        values_ND, presence_ND = self._filter.numbers(raw_ND, present(raw_ND))
        readings = Readings(
            np.repeat(np.array([row for row, _, _ in found]), counts),
            np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
            tuple(places),
            np.concatenate([stream for _, _, stream in found]).astype(np.int32),
            np.concatenate([message.time_N for _, message, _ in found]),
            values_ND,
            presence_ND,
            np.zeros((sum(counts), 0), np.int64),
        )
        order_N = time_order(readings.row_N, readings.time_N)
        return readings if order_N is None else ordered(readings, order_N)

    def _message(self, batch: RecordBatch, row: int) -> packed.Packed | Fault:
        try:
            message = packed.decode(batch.values[row] or b"", len(self._stream.numeric), self._most)
        except packed.TooManyReadings as fault:
            return Reason.TOO_MANY_READINGS, str(fault)
        except packed.NotPacked as fault:
            return Reason.MALFORMED, str(fault)
        key = record_key(batch.keys[row]) if not message.keys else _fault(message.keys)
        if key is not None and not isinstance(key, str):
            return key
        wrong = self._time_fault(message.time_N, int(batch.timestamps[row]))
        return wrong or (message if key is None else message._replace(keys=(key,)))

    def _time_fault(self, time_N: Int64, append: int) -> Fault | None:
        limit = self._stream.ahead_limit_seconds
        wrong = np.flatnonzero(~time_fits(time_N, np.full(len(time_N), append), limit))
        if not len(wrong):
            return None
        fault = time_fault(int(time_N[wrong[0]]), append, limit)
        return fault and (fault[0], f"reading {wrong[0]}: {fault[1]}")


def _fault(keys: tuple[str, ...]) -> Fault | None:
    """Return what is wrong with the first invalid key, or None."""
    if all(keys) and max(map(len, keys)) <= KEY_CHARACTERS and all(map(str.isascii, keys)):
        return None
    for key in keys:
        found = checked_key(key) if key else (Reason.MISSING_KEY, "a stream key of the message is empty")
        if not isinstance(found, str):
            return found
    return None


def _streams(message: packed.Packed, places: dict[str, int]) -> Int64:
    """Return the number that each reading's stream has in the batch. `places` has the numbers of keys seen so far, and
    gets new keys in the order in which readings refer to them, not in the order of the message's list."""
    if len(message.keys) == 1:
        number = places.setdefault(message.keys[0], len(places))
        return np.full(len(message.time_N), number, dtype=np.int64)
    used, first = np.unique(message.stream_N, return_index=True)
    numbers = np.zeros(len(message.keys), np.int64)
    for at in used[np.argsort(first)].tolist():
        numbers[at] = places.setdefault(message.keys[at], len(places))
    return numbers[message.stream_N]
