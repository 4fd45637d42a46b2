"""Reads fields of CSV values: one line per record, with columns named by the configuration, a record header or a file's
first line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.columns import Table
from anomaly_daemon.transport.ports import Headers
from anomaly_daemon.transport.readings import Fault
from anomaly_daemon.transport.rejection import Reason, Rejections

CSV_COLUMNS = "csv_columns"
"""The record header that holds a line of column names. For a file it is the file's first line; a Kafka producer may
send it."""
TO_UTF8 = "iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW, if that is what it is (as of Excel in the west)"
"""Advice on text that is not UTF-8."""


csv.field_size_limit(2**31 - 1)  # limits.record_bytes bounds a line, and so its fields
_OPEN = "a double quote is not closed by the line's end: a record is one line, and a quote within a field is doubled"
_UNNAMED = (Reason.NO_COLUMNS, f"set stream.csv.columns, or send the header {CSV_COLUMNS}")


class Layout(NamedTuple):
    """The number of columns in a line, and the places of the wanted ones (-1: there is no such column)."""

    width: int
    places: tuple[int, ...]


class CsvFields:
    """Reads the wanted columns. Each line is parsed separately, so an open quote cannot swallow the next record."""

    def __init__(self, paths: Iterable[str], delimiter: str, columns: Sequence[str] | None) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._delimiter = delimiter
        self._fixed = None if columns is None else self._layout(columns)
        self._named: tuple[bytes | None, Layout | Fault] = (None, _UNNAMED)

    def read(self, values: Sequence[bytes], headers: Sequence[Headers], rows: Int64, rejections: Rejections) -> Table:
        """Return the fields of the lines that can be parsed. `rows` are the places of the lines in the batch. Other
        lines are added to `rejections`."""
        found: list[int] = []
        lines: list[list[str | None]] = []
        for value, header, row in zip(values, headers, rows.tolist(), strict=True):
            line = self._line(value, header, row, rejections)
            if line is not None:
                found.append(row)
                lines.append(line)
        columns = [list(column) for column in zip(*lines, strict=True)] if lines else [[] for _ in self._paths]
        return Table(np.array(found, dtype=np.int64), dict(zip(self._paths, columns, strict=True)))

    def _line(self, value: bytes, headers: Headers, row: int, rejections: Rejections) -> list[str | None] | None:
        layout = self._fixed or self._named_by(headers)
        if not isinstance(layout, Layout):
            rejections.add(row, *layout)
            return None
        try:
            fields: list[str | None] = list(split_line(value.decode("utf-8"), self._delimiter))
        except UnicodeDecodeError as fault:
            rejections.add(row, Reason.BAD_UTF8, str(fault))
            return None
        except csv.Error as fault:
            rejections.add(row, Reason.MALFORMED, str(fault))
            return None
        if len(fields) != layout.width:
            rejections.add(row, Reason.MALFORMED, f"{layout.width} columns are expected, {len(fields)} found")
            return None
        fields.append(None)  # read by a place of -1: a column that is not there
        return [fields[place] for place in layout.places]

    def _layout(self, columns: Sequence[str]) -> Layout:
        names = [name.strip() for name in columns]
        return Layout(len(names), tuple(names.index(path) if path in names else -1 for path in self._paths))

    def _named_by(self, headers: Headers) -> Layout | Fault:
        """Return the layout that the record's header `csv_columns` gives, or the fault. Only the last line of names is
        cached: a file has one, and a producer seldom changes its own."""
        names = next((value for name, value in headers if name == CSV_COLUMNS), None)
        if self._named[0] != names:
            self._named = (names, _UNNAMED if names is None else self._parsed(names))
        return self._named[1]

    def _parsed(self, names: bytes) -> Layout | Fault:
        """Return the layout, or why the line does not name columns. The reason then blames the line of names, and not
        the records."""
        try:
            return self._layout(split_line(names.decode("utf-8"), self._delimiter))
        except UnicodeDecodeError as fault:
            return Reason.BAD_UTF8, f"the line of column names is not UTF-8 ({fault}): {TO_UTF8}"
        except csv.Error as fault:
            return Reason.NO_COLUMNS, f"the line of column names cannot be read: {fault}"


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the fields of one line, without a byte order mark before it. Raises csv.Error if it is not one complete
    line."""
    line = line.rstrip("\r\n").removeprefix("\ufeff")
    if '"' not in line and "\n" not in line and "\r" not in line:
        return line.split(delimiter)
    try:
        rows = list(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as fault:
        raise csv.Error(_OPEN if "unexpected end" in str(fault) else str(fault)) from fault
    if len(rows) != 1:
        raise csv.Error(f"one line is expected, {len(rows)} found")
    return rows[0]
