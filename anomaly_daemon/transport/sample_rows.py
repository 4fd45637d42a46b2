"""Decodes the bytes of a sample into rows of plain fields: which format it has, and what each record holds."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from anomaly_daemon.settings import RegistrySettings
from anomaly_daemon.transport.columns import CSV_ABSENT
from anomaly_daemon.transport.json_tree import REGISTRY_PREFIX
from anomaly_daemon.transport.packed import MAGIC
from anomaly_daemon.transport.sample_cells import COMMA, cells_of, delimiter_of, with_points
from anomaly_daemon.transport.sample_header import Header, header_of
from anomaly_daemon.transport.sample_parts import SampleParts, of_objects, sample_parts

Row = Mapping[str, Any]
DEEPEST = 4
LIST = "a list, of which only single elements can be named: see docs/input.md"
OBJECTS = "a list of objects: if these are the records, set stream.unnest to it, see docs/input.md"
LONGEST = 16
"""The elements of a longer list of numbers are not taken for fields."""
_POINT = re.compile(r"[+-]?\d{1,9}\.\d+([eE][+-]?\d+)?")
"""Without epoch times, which may have a point where other numbers have a comma."""
_JSON_SHARE = 0.5
"""If at least this share of the lines are JSON objects, the format is JSON and the other lines are faulty, as no line
of CSV reads as a JSON object."""


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Rows by field path, and the record key of each. CSV cells are text, or None where they stand for "no value".

    `columns` are set if no header line names them.
    """

    format: Literal["json", "csv", "avro", "protobuf", "influx", "otlp_json", "otlp_proto", "packed"]
    rows: Sequence[Row]
    keys: tuple[str, ...]
    unreadable: int = 0
    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    decimal: str = "."
    """CSV: the decimal mark. In the rows it is replaced by a point."""
    names: tuple[str, ...] = ()
    """CSV: the names of all columns, in order, including empty and repeated ones."""
    lost: tuple[tuple[str, str], ...] = ()
    """Columns or lists that no name leads to, and why."""
    above: int = 0
    """CSV: the number of lines above the line of column names, including blank ones. The daemon takes the first line
    for it."""
    usual_width: int = 0
    """CSV: the number of columns of most lines."""
    schemas: RegistrySettings | None = None
    """Avro, Protobuf: where the schemas were found."""
    unnest: str | None = None
    """JSON: the path of the list of records that each message holds."""

    def first(self, count: int) -> SampleRows:
        """Return the sample with its first `count` rows. From a file one line more is read than rows are wanted, as one
        may be a header."""
        return replace(self, rows=self.rows[:count], keys=self.keys[:count])


def registered(values: Sequence[bytes]) -> bool:
    """Whether most values begin as the serializers of a schema registry write them, and are not JSON after that."""
    held = [value for value in values if value]
    return sum(value[0] == 0 and _json_object(value) is None for value in held) > len(held) / 2


def sample_rows(values: Sequence[bytes], *, header: bool, keys: Sequence[str] | None = None) -> SampleRows:
    """Return what the values hold. `header`: the first line may name the columns (in a file it may, in a topic never).

    `keys` are the records' own keys, "" where there is none.
    """
    pairs = [(value, key) for value, key in zip(values, keys or [""] * len(values), strict=True) if value.strip()]
    if pairs and sum(value.startswith(MAGIC) for value, _ in pairs) > len(pairs) / 2:
        return SampleRows("packed", (), ())
    if parts := sample_parts([value for value, _ in pairs], [key for _, key in pairs]):
        return _of_parts(parts)
    objects = [(found, key) for value, key in pairs if (found := _json_object(value)) is not None]
    if objects and len(objects) >= _JSON_SHARE * len(pairs):
        rows = [dict(_flat(found)) for found, _ in objects]
        lost = _lost_lists(found for found, _ in objects)
        return SampleRows("json", rows, tuple(key for _, key in objects), len(pairs) - len(objects), lost=lost)
    lines = [value.decode("utf-8", "replace").rstrip("\r\n") for value, _ in pairs]
    read = _csv_rows(lines, [key for _, key in pairs], header)
    places = [place for place, value in enumerate(values) if value.strip()]
    return replace(read, above=places[read.above]) if read.columns is None and places else read


def _of_parts(parts: SampleParts) -> SampleRows:
    rows = [dict(_flat(record)) for record, _ in parts.records]
    lost = _lost_lists(record for record, _ in parts.records)
    keys = tuple(key for _, key in parts.records)
    return SampleRows(parts.format, rows, keys, parts.unreadable, lost=lost, unnest=parts.unnest)


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
        elif _of_numbers(value):
            yield from ((f"{path}.{place}", number) for place, number in enumerate(value))
        elif not isinstance(value, list | dict):
            yield path, value


def _of_numbers(value: Any) -> bool:
    """Whether the value is a short list of numbers, such as a position or the axes of a sensor."""
    return isinstance(value, list) and 1 <= len(value) <= LONGEST and all(type(one) in (int, float) for one in value)


def _lost_lists(trees: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return the paths of lists that are not read, and why."""
    lost = dict[str, str]()
    for path, held in (one for tree in trees for one in _lists(tree)):
        if lost.get(path) != OBJECTS:
            lost[path] = OBJECTS if of_objects(held) else LIST
    return tuple(lost.items())


def _lists(tree: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[tuple[str, list[Any]]]:
    for name, value in tree.items():
        if isinstance(value, dict) and depth < DEEPEST:
            yield from _lists(value, f"{above}{name}.", depth + 1)
        elif isinstance(value, list) and not _of_numbers(value):
            yield f"{above}{name}", value


def _csv_rows(lines: Sequence[str], keys: Sequence[str], header: bool) -> SampleRows:
    head = header_of(lines) if header else Header(delimiter_of(lines), 0, None)
    first = head.line + (head.names is not None)
    cells = [cells_of(line, head.delimiter) for line in lines[first:]]
    width = len(head.names or (cells[0] if cells else ()))
    names = head.names or tuple(f"column_{n + 1}" for n in range(width))
    fitting = [
        (row, key) for row, key in zip(cells, keys[first:], strict=True) if len(row) == width and row != head.names
    ]
    decimal = _decimal([row for row, _ in fitting], head.delimiter)
    wanted = {name: names.index(name) for name in dict.fromkeys(names) if name}
    rows = [{name: _cell(row[place], decimal) for name, place in wanted.items()} for row, _ in fitting]
    return SampleRows(
        "csv",
        rows,
        tuple(key for _, key in fitting),
        len(cells) - len(fitting),
        head.delimiter,
        None if head.names else names,
        decimal,
        names,
        _lost(names, [row for row, _ in fitting]),
        head.line,
        _usual_width(cells),
    )


def _lost(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Return the columns that no name leads to, and why."""
    why = []
    for place, name in enumerate(names):
        if not name:
            values = {row[place].strip() for row in rows}
            why.append((f"column {place + 1}", "it has no name" + (", and is empty" if values <= {""} else "")))
        elif name in names[:place]:
            why.append((f"column {place + 1}, {name}", "an earlier column has the same name: rename one to read both"))
    return tuple(why)


def _usual_width(cells: Sequence[Sequence[str]]) -> int:
    return Counter(map(len, cells)).most_common(1)[0][0] if cells else 0


def _cell(text: str, decimal: str) -> str | None:
    text = text.strip()
    if text.lower() in CSV_ABSENT:
        return None
    return with_points(text) if decimal == "," else text


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Return the decimal mark: a comma if more numbers are written with one than with a point."""
    if delimiter == ",":
        return "."
    marks = [sum(bool(form.fullmatch(text.strip())) for row in rows for text in row) for form in (COMMA, _POINT)]
    return "," if marks[0] > marks[1] else "."
