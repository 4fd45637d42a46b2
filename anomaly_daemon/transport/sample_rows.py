"""A sample's bytes to rows of plain fields: what format it is in, and what each record holds."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from anomaly_daemon.transport.columns import CSV_ABSENT
from anomaly_daemon.transport.csv_fields import split_line
from anomaly_daemon.transport.json_fields import REGISTRY_PREFIX
from anomaly_daemon.transport.packed import MAGIC

Row = Mapping[str, Any]
DELIMITERS = ",;\t|"
DEEPEST = 4
_COMMA, _POINT = (re.compile(rf"[+-]?\d+{mark}\d+") for mark in (",", r"\."))
_JSON_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Rows by field path, and each one's record key. CSV cells are text, None where they stand for nothing.

    `columns` are set where no header line names them.
    """

    format: Literal["json", "csv", "packed"]
    rows: Sequence[Row]
    keys: tuple[str, ...]
    unreadable: int = 0
    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    decimal: str = "."
    """CSV: the mark before a fraction; rows hold a point there."""

    def first(self, count: int) -> SampleRows:
        """No more than so many rows: of a file one line more is read, which may be a header."""
        return replace(self, rows=self.rows[:count], keys=self.keys[:count])


def sample_rows(values: Sequence[bytes], *, header: bool, keys: Sequence[str] | None = None) -> SampleRows:
    """What the values hold. `header`: a first line may name the columns (a file's does, a topic's never).

    `keys` are the records' own, "" where there are none.
    """
    pairs = [(value, key) for value, key in zip(values, keys or [""] * len(values), strict=True) if value.strip()]
    if pairs and sum(value.startswith(MAGIC) for value, _ in pairs) > len(pairs) / 2:
        return SampleRows("packed", (), ())
    objects = [(found, key) for value, key in pairs if (found := _json_object(value)) is not None]
    if objects and len(objects) >= _JSON_SHARE * len(pairs):
        rows = [dict(_flat(found)) for found, _ in objects]
        return SampleRows("json", rows, tuple(key for _, key in objects), len(pairs) - len(objects))
    lines = [value.decode("utf-8", "replace").rstrip("\r\n") for value, _ in pairs]
    return _csv_rows(lines, [key for _, key in pairs], header)


def _json_object(value: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(value[REGISTRY_PREFIX:] if value[:1] == b"\0" else value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _flat(tree: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and depth < DEEPEST:
            yield from _flat(value, f"{path}.", depth + 1)
        elif not isinstance(value, list | dict):
            yield path, value


def _csv_rows(lines: Sequence[str], keys: Sequence[str], header: bool) -> SampleRows:
    delimiter = _delimiter(lines)
    cells = [_cells(line, delimiter) for line in lines]
    width = len(cells[0]) if cells else 0
    named = header and width > 0 and _names(cells[0])
    columns = tuple(name.strip() for name in cells[0]) if named else tuple(f"column_{n + 1}" for n in range(width))
    first = 1 if named else 0
    fitting = [(row, key) for row, key in zip(cells[first:], keys[first:], strict=True) if len(row) == width]
    decimal = _decimal([row for row, _ in fitting], delimiter)
    rows = [dict(zip(columns, (_cell(text, decimal) for text in row), strict=True)) for row, _ in fitting]
    unreadable = len(cells) - first - len(fitting)
    row_keys = tuple(key for _, key in fitting)
    return SampleRows("csv", rows, row_keys, unreadable, delimiter, None if named else columns, decimal)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return split_line(line, delimiter)
    except csv.Error:
        return []


def _cell(text: str, decimal: str) -> str | None:
    text = text.strip()
    if decimal == "," and _COMMA.fullmatch(text):
        return text.replace(",", ".")
    return None if text.lower() in CSV_ABSENT else text


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """A comma, where more numbers are written with one than with a point."""
    if delimiter == ",":
        return "."
    marks = [sum(bool(form.fullmatch(text.strip())) for row in rows for text in row) for form in (_COMMA, _POINT)]
    return "," if marks[0] > marks[1] else "."


def _delimiter(lines: Sequence[str]) -> str:
    """The one that splits the most lines into as many cells as the first."""
    counts = {mark: [line.count(mark) for line in lines[:100]] for mark in DELIMITERS}
    return max(DELIMITERS, key=lambda mark: sum(n > 0 and n == counts[mark][0] for n in counts[mark]))


def _names(cells: Sequence[str]) -> bool:
    """No cell of a header is empty, a number, or there twice."""
    return len(set(cells)) == len(cells) and all(cell.strip() and number_of(cell) is None for cell in cells)


def number_of(value: Any) -> float | None:
    """The number that a field holds: a JSON number, or a CSV text that reads as one."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return None
