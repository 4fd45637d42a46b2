"""Reads fields of messages that are decoded into Python objects first: formats whose messages may hold several records
(lists in JSON, lines of Influx, data points of OTLP), Avro and Protobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport import avro_rows
from anomaly_daemon.transport.avro_records import AvroRecords
from anomaly_daemon.transport.columns import Table
from anomaly_daemon.transport.influx_lines import records_of_lines
from anomaly_daemon.transport.json_fields import reach
from anomaly_daemon.transport.json_tree import json_tree
from anomaly_daemon.transport.otlp_metrics import points_of_json, points_of_protobuf
from anomaly_daemon.transport.protobuf_records import ProtobufRecords
from anomaly_daemon.transport.rejection import Reason, Rejections, Unreadable
from anomaly_daemon.transport.unnest import unnest

Record = Mapping[str, Any]
RecordsOf = Callable[[bytes], Iterable[Record]]
SEVERAL: Mapping[str, RecordsOf] = {
    "influx": records_of_lines,
    "otlp_json": points_of_json,
    "otlp_proto": points_of_protobuf,
}
"""The formats of which any message may hold several records."""


def records_of(stream: StreamSettings, paths: Iterable[str]) -> RecordsOf | None:
    """Return the function that decodes a message into its records, with the fields at these paths and maybe others;
    None where `RecordFields` does not read the format.
    Raises ConfigurationError, NoInput or NotPermitted if a file of schemas or certificates cannot be used."""
    if stream.format in SEVERAL:
        return SEVERAL[stream.format]
    paths = tuple(paths)
    by_schema = record_by_schema(stream, frozenset(".".join([*paths, stream.unnest or ""]).split(".")))
    decoded = json_tree if by_schema is None else by_schema
    if (path := stream.unnest) is not None:
        return partial(_elements, decoded, path, frozenset(chain.from_iterable(map(_first_names, paths))))
    return None if by_schema is None else (lambda value: (by_schema(value),))


def record_by_schema(stream: StreamSettings, names: Set[str] | None = None) -> Callable[[bytes], Record] | None:
    """Return the function that decodes a value of a format with schemas; None for the other formats. `names`: those of
    the fields that are needed, at any depth; None for all. Raises as `records_of` does."""
    if stream.format == "avro":
        return AvroRecords(stream.avro).record
    return ProtobufRecords(stream.protobuf, names).record if stream.format == "protobuf" else None


def _elements(decoded: Callable[[bytes], Any], path: str, wanted: Set[str], value: bytes) -> Iterable[Record]:
    return unnest(decoded(value), path, wanted)


def _first_names(path: str) -> list[str]:
    """Return the names in a record that the path may begin with."""
    return [path, *(path[:at] for at, letter in enumerate(path) if letter == ".")]


def as_json(decoded: Callable[[bytes], Record], values: Iterable[bytes]) -> list[bytes]:
    """Return each value as a JSON object, or unchanged if it cannot be read. Raises as `decoded` does, but no
    Unreadable."""
    return [_as_json(decoded, value) for value in values]


def _as_json(decoded: Callable[[bytes], Record], value: bytes) -> bytes:
    try:
        return avro_rows.as_json(decoded(value))
    except Unreadable:
        return value


class RecordFields:
    """Reads the wanted fields of every record of a message. A message is read or rejected as a whole, and may hold no
    record."""

    def __init__(self, paths: Iterable[str], records: RecordsOf, most: int, *, several: bool) -> None:
        """`most`: the most records of one message. `several`: whether a message may hold more than one."""
        self._paths, self._records, self._most = tuple(dict.fromkeys(paths)), records, most
        self._several = several

    def read(self, values: Sequence[bytes], rows: Int64, rejections: Rejections) -> Table:
        """Return the fields of all records. `rows` are the places of the values in the batch. Messages that cannot be
        read are added to `rejections`.

        Raises:
            Unavailable, NotPermitted, ConfigurationError: the schema registry did not give the schema of a value.
        """
        columns: dict[str, list[Any]] = {path: [] for path in self._paths}
        counts = []
        for value, row in zip(values, rows.tolist(), strict=True):
            records = self._read(value, row, rejections)  # not those of all messages at once: each may be large
            counts.append(len(records))
            for path, column in columns.items():
                column += [_at(record, path) for record in records]
        index_M = np.array([place for count in counts for place in range(count)], np.int64)
        return Table(np.repeat(rows, counts), columns, None, index_M if self._several else None)

    def _read(self, value: bytes, row: int, rejections: Rejections) -> list[Record]:
        try:
            records = list(islice(self._records(value), self._most + 1))
        except Unreadable as why:
            rejections.add(row, why.reason, why.detail)
            return []
        if len(records) > self._most:
            detail = f"more records than limits.readings_per_record, {self._most}"
            rejections.add(row, Reason.TOO_MANY_READINGS, detail)
            return []
        return records


def _at(record: Record, path: str) -> Any:
    """Return the value at the path: looked up as one name first, and then as a path into nested objects and lists."""
    whole = record.get(path)
    return reach(record, path) if whole is None and "." in path else whole
