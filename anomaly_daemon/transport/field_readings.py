"""Reads records that hold fields (JSON, CSV, Avro, ...), in the wide and in the long shape: one reading per record. A
message is one record, or may hold several where it is read by `record_fields`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Float64, Int32, Int64, UInt8
from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport.columns import (
    Categories,
    Column,
    Table,
    Texts,
    number_streams,
    numbers_of,
    present,
    text_of,
)
from anomaly_daemon.transport.csv_fields import CsvFields
from anomaly_daemon.transport.json_fields import JsonFields
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
from anomaly_daemon.transport.record_fields import SEVERAL, RecordFields, records_of
from anomaly_daemon.transport.rejection import Reason, Rejections
from anomaly_daemon.transport.shaping import belonging_together, joined, ordered, time_order
from anomaly_daemon.transport.times import Times

Keys = tuple[str, ...]
Scalar = TypeVar("Scalar", bound=np.generic)


class FieldReadings:
    """Reads the batches of one deployment whose format is any but packed."""

    def __init__(self, stream: StreamSettings, readings_per_record: int) -> None:
        self._stream = stream
        self._long = stream.shape == "long"
        self._numeric = [feature.field or feature.name for feature in stream.numeric]
        self._metrics = {name: place for place, name in enumerate(self._numeric)}
        self._numbers, self._filter = numbers_of(stream), ValueFilter(stream)
        self._times = Times(stream.time_unit, stream.timezone, stream.time_format, stream.decimal)
        self._categories = Categories()
        shape = [stream.metric, stream.value] if self._long else self._numeric + stream.categorical
        paths = stream.key + ([stream.time] if stream.time else []) + shape
        others = {*stream.key, *stream.categorical, stream.time}
        plain = not self._long and len({*self._numeric, *others}) == len(self._numeric) + len(others)
        self._json = JsonFields(paths, self._numeric if plain and not stream.text_numbers else ())
        self._csv = CsvFields(paths, stream.csv.delimiter, stream.csv.columns)
        records = records_of(stream, paths)
        several = stream.format in SEVERAL or stream.unnest is not None
        most = readings_per_record if several else 1
        self._records = None if records is None else RecordFields(paths, records, most, several=several)

    def read(self, batch: RecordBatch, rows: Int64, rejections: Rejections) -> Readings:
        """Return the readings of `rows`. Each of the rows is in the readings, in `rejections`, or counted in
        `unknown_metrics` or `no_records`."""
        table = self._table(batch, rows, rejections)
        none = 0
        if table.index_M is not None:
            none = int((rejections.accepted(rows) & ~np.isin(rows, table.rows)).sum())
        unknown_rows = rows[:0]
        if self._long:
            table, unknown_rows = self._known_metrics(table, rejections)
        keys, stream_M = self._streams(batch, table, rejections)
        time_M = self._event_times(batch, table, rejections)
        unknown = int(rejections.accepted(unknown_rows).sum())  # a message with other records may be rejected for them
        accepted_M = rejections.accepted(table.rows)
        if not accepted_M.any():
            return no_readings(len(self._numeric), len(self._stream.categorical), unknown, none)
        if not accepted_M.all():
            table, (keys, stream_M) = (
                table.where(accepted_M),
                number_streams([keys[at] for at in stream_M[accepted_M].tolist()]),
            )
        metric_N, values_ND, presence_ND = (
            self._metric_values(table) if self._long else (None, *self._wide_values(table))
        )
        categories = [table.columns[path] for path in self._stream.categorical]
        readings = Readings(
            table.rows,
            np.zeros(len(table.rows), np.int32) if table.index_M is None else table.index_M.astype(np.int32),
            keys,
            stream_M,
            time_M[accepted_M],
            values_ND,
            presence_ND,
            _stacked([self._categories.codes(column) for column in categories], len(table.rows), np.int64),
            self._categories.names(categories),
            unknown,
            none,
        )
        return self._shaped(readings, metric_N, several=table.index_M is not None)

    def _shaped(self, readings: Readings, metric_N: Int64 | None, *, several: bool) -> Readings:
        """Put the readings of each message in order of time, if it may hold several, and in the long shape join those
        that are one event."""
        if several and (order_N := time_order(readings.row_N, readings.time_N)) is not None:
            readings, metric_N = ordered(readings, order_N), None if metric_N is None else metric_N[order_N]
        if metric_N is None:
            return readings
        group_N = belonging_together(readings, metric_N) if several else np.arange(len(metric_N))
        return joined(readings, metric_N, group_N, len(self._numeric))

    def warm(self) -> None:
        """Compile (or load) now what would otherwise be compiled at the first record."""
        if self._stream.format == "json" and self._records is None:
            self._json.warm()

    def _table(self, batch: RecordBatch, rows: Int64, rejections: Rejections) -> Table:
        values: Sequence[bytes] = batch.values  # type: ignore[assignment]  # none is None where all rows are readable
        if len(rows) < len(batch):
            values = [value for value in map(batch.values.__getitem__, rows.tolist()) if value is not None]
        if self._stream.format == "csv":
            return self._csv.read(values, [batch.headers[row] for row in rows.tolist()], rows, rejections)
        return (self._records or self._json).read(values, rows, rejections)

    def _known_metrics(self, table: Table, rejections: Rejections) -> tuple[Table, Int64]:
        """Return the records of configured metrics, and the row of each record of another one."""
        names = [text_of(name) for name in table.columns[self._stream.metric]]
        for place, name in enumerate(names):
            if not name:
                detail = table.named(place, f"no text in {self._stream.metric!r} names the metric")
                rejections.add(int(table.rows[place]), Reason.MISSING_METRIC, detail)
        known = np.array([name in self._metrics for name in names], dtype=bool)
        named = np.array([bool(name) for name in names], dtype=bool)
        return table.where(known), table.rows[named & ~known]

    def _streams(self, batch: RecordBatch, table: Table, rejections: Rejections) -> tuple[Keys, Int32]:
        """Return the distinct stream keys, and the index of each record's key among them. For a rejected record the
        index has no meaning."""
        distinct, place_M = self._distinct_keys(batch, table)
        faults = {number: key for number, key in enumerate(distinct) if not isinstance(key, str)}
        for place, number in enumerate(place_M.tolist()) if faults else ():
            if number in faults:
                reason, detail = faults[number]
                rejections.add(int(table.rows[place]), reason, table.named(place, detail))
        keys = tuple(key if isinstance(key, str) else "" for key in distinct)
        if len(set(keys)) == len(keys):
            return keys, place_M
        return number_streams([keys[place] for place in place_M.tolist()])

    def _distinct_keys(self, batch: RecordBatch, table: Table) -> tuple[list[str | Fault], Int32]:
        """Return the stream key that each distinct raw key gives (or why it gives none), and the index of each record's
        raw key among them. A raw key is checked once however many records have it, and few raw keys differ."""
        paths = self._stream.key
        if not paths:
            raw, place_M = number_streams([batch.keys[row] for row in table.rows.tolist()])
            return list(map(record_key, raw)), place_M
        parts = [table.columns[path] for path in paths]
        if len(parts) == 1 and isinstance(parts[0], Texts):
            texts = parts[0]
            return [checked_key(text) if text else _joined((text,), paths) for text in texts.distinct], texts.place_M
        rows = list(zip(*parts, strict=True))
        if all(set(map(type, part)) == {str} for part in parts):
            distinct, place_M = number_streams(rows)
            return [_joined(values, paths) for values in distinct], place_M
        # not as distinct keys: 1 and True are equal in a dictionary, and a list cannot be a key of it
        return [_joined(values, paths) for values in rows], np.arange(len(rows), dtype=np.int32)

    def _event_times(self, batch: RecordBatch, table: Table, rejections: Rejections) -> Int64:
        append_M = batch.timestamps[table.rows]
        time_M = append_M if self._stream.time is None else self._times.read(table.columns[self._stream.time])
        limit = self._stream.ahead_limit_seconds
        for place in np.flatnonzero(~time_fits(time_M, append_M, limit)).tolist():
            fault = time_fault(int(time_M[place]), int(append_M[place]), limit)
            assert fault is not None, "time_fits and time_fault say the same"
            rejections.add(int(table.rows[place]), fault[0], table.named(place, fault[1]))
        return time_M

    def _wide_values(self, table: Table) -> tuple[Float64, UInt8]:
        if table.numbers is not None:
            return self._filter.numbers(table.numbers, present(table.numbers))
        pairs = [self._read(table.columns[path], feature) for feature, path in enumerate(self._numeric)]
        N = len(table.rows)
        values_ND = _stacked([values for values, _ in pairs], N, np.float64)
        return self._filter.numbers(values_ND, _stacked([presence for _, presence in pairs], N, np.uint8))

    def _metric_values(self, table: Table) -> tuple[Int64, Float64, UInt8]:
        """Return the index of each row's metric [N], its value [N, 1] and the value's presence [N, 1]."""
        names = (text_of(name) for name in table.columns[self._stream.metric])
        at_N = np.fromiter((self._metrics[name] for name in names if name is not None), np.int64, len(table.rows))
        values_N, presence_N = self._filter.numbers(*self._read(table.columns[self._stream.value], at_N), at_N)
        return at_N, values_N[:, None], presence_N[:, None]

    def _read(self, column: Column, features: Int64 | int) -> tuple[Float64, UInt8]:
        """Return the numbers of a column. Texts that stand for "missing" become ABSENT. `features` is the index of the
        column's feature, or one index per row."""
        values_N, presence_N = self._numbers(column)
        self._filter.texts(column, values_N, presence_N, features)
        return values_N, presence_N


def _joined(values: tuple[object, ...], paths: Sequence[str]) -> str | Fault:
    texts = list(map(text_of, values))
    for text, path in zip(texts, paths, strict=True):
        if not text:
            return Reason.MISSING_KEY, f"no text or whole number in {path!r}"
    return checked_key("/".join(text for text in texts if text))


def _stacked(columns: Sequence[npt.NDArray[Scalar]], rows: int, dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0), dtype)
