"""Converts records of kafka-python to columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anomaly_daemon.transport.ports import Headers, Partition, RecordBatch


def record_batch(partition: Partition, records: Sequence[Any], next_offset: int) -> RecordBatch:
    """Return kafka-python's ConsumerRecords of one partition as columns. Milliseconds become microseconds, and a
    missing timestamp is -1."""
    count = len(records)
    timestamps = np.fromiter((record.timestamp for record in records), np.int64, count)
    return RecordBatch(
        partition,
        np.fromiter((record.offset for record in records), np.int64, count),
        np.where(timestamps >= 0, timestamps * 1000, -1),
        [record.key for record in records],
        [record.value for record in records],
        [_headers(record.headers) for record in records],
        next_offset,
    )


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    return tuple((name, value or b"") for name, value in headers) if headers else ()
