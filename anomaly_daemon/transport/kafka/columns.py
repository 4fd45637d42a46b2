"""Converts records of kafka-python to columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.ports import Headers, Partition, RecordBatch

MOST_MILLISECONDS = (2**63 - 1) // 1000


def record_batch(partition: Partition, records: Sequence[Any], next_offset: int) -> RecordBatch:
    """Return kafka-python's ConsumerRecords of one partition as columns. Milliseconds become microseconds, and a
    missing timestamp is -1."""
    count = len(records)
    timestamps = np.fromiter((record.timestamp for record in records), np.int64, count)
    return RecordBatch(
        partition,
        np.fromiter((record.offset for record in records), np.int64, count),
        microseconds(timestamps),
        [record.key for record in records],
        [record.value for record in records],
        [_headers(record.headers) for record in records],
        next_offset,
    )


def microseconds(timestamp_N: Int64) -> Int64:
    """Return timestamps in milliseconds, of which negative ones are missing, as microseconds; -1 where missing. Brokers
    up to 3.x accept any number from a producer, such as nanoseconds. One that 64 bits cannot hold becomes the largest."""
    return np.where(timestamp_N >= 0, np.minimum(timestamp_N, MOST_MILLISECONDS) * 1000, -1)


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    return tuple((name, value or b"") for name, value in headers) if headers else ()
