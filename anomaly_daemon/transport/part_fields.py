"""Reads fields of messages that may hold several records: lists in JSON, lines of Influx, data points of OTLP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport.columns import Table
from anomaly_daemon.transport.influx_lines import records_of_lines
from anomaly_daemon.transport.json_fields import reach
from anomaly_daemon.transport.otlp_metrics import data_points
from anomaly_daemon.transport.rejection import Reason, Rejections, Unreadable
from anomaly_daemon.transport.unnest import unnesting

Record = Mapping[str, Any]
Parts = Callable[[bytes], Iterator[Record]]


def parts_of(stream: StreamSettings) -> Parts | None:
    """Return the function that parts a message into records; None where a message is one record."""
    if stream.format == "influx":
        return records_of_lines
    if stream.format == "otlp_json":
        return data_points
    return None if stream.unnest is None else unnesting(stream.unnest)


class PartFields:
    """Reads the wanted fields of every record of a message. A message is read or rejected as a whole, and may hold no
    record."""

    def __init__(self, paths: Iterable[str], parts: Parts, most: int) -> None:
        """`most`: the most records of one message."""
        self._paths, self._parts, self._most = tuple(dict.fromkeys(paths)), parts, most

    def read(self, values: Sequence[bytes], rows: Int64, rejections: Rejections) -> Table:
        """Return the fields of all records. `rows` are the places of the values in the batch. Messages that cannot be
        read are added to `rejections`."""
        found = [self._records(value, row, rejections) for value, row in zip(values, rows.tolist(), strict=True)]
        counts = [len(records) for records in found]
        records = [record for part in found for record in part]
        columns = {path: [_at(record, path) for record in records] for path in self._paths}
        index = [np.arange(count, dtype=np.int64) for count in counts]
        return Table(
            np.repeat(rows, counts), columns, None, np.concatenate(index) if index else np.zeros(0, dtype=np.int64)
        )

    def _records(self, value: bytes, row: int, rejections: Rejections) -> list[Record]:
        try:
            records = list(islice(self._parts(value), self._most + 1))
        except Unreadable as why:
            rejections.add(row, why.reason, why.detail)
            return []
        if len(records) > self._most:
            detail = f"more records than limits.readings_per_record, {self._most}"
            rejections.add(row, Reason.TOO_MANY_READINGS, detail)
            return []
        return records


def _at(record: Record, path: str) -> Any:
    """Return the value at the path: looked up as one name first, and then as a path into nested objects."""
    whole = record.get(path)
    return reach(record, path) if whole is None and "." in path else whole
