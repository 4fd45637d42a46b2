"""Fields of JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.columns import Table
from anomaly_daemon.transport.rejection import Reason, Rejections

REGISTRY_PREFIX = 5
"""A schema registry's wire format begins with a zero byte and the four bytes of the schema's id."""
_DIGITS = 400
"""A float holds no integer of more digits, and Python refuses to parse one of thousands."""


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else float(digits)


_LENIENT = json.JSONDecoder(parse_int=_integer)


class JsonFields:
    """Reads the wanted fields and passes over all others.

    A path with dots is looked up as one name first, and then as a way into nested objects. Of a name that a record
    holds twice the last one counts. NaN and Infinity, which JSON does not know and Python writes, are read.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._parents = tuple(dict.fromkeys(path.split(".", 1)[0] for path in self._paths if "." in path))
        self._names = tuple(dict.fromkeys(self._paths + self._parents))
        self._place = {name: f"f{number}" for number, name in enumerate(self._names)}
        self._record = msgspec.defstruct(
            "Record",
            [(place, object, None) for place in self._place.values()],
            rename={place: name for name, place in self._place.items()},
            gc=False,
        )
        self._decode = msgspec.json.Decoder(self._record).decode

    def read(self, values: Sequence[bytes], rows: Int64, rejections: Rejections) -> Table:
        """The fields of the values that are JSON objects; `rows` are the values' places in the batch."""
        values = [value[REGISTRY_PREFIX:] if value[:1] == b"\0" else value for value in values]
        try:
            records = [self._decode(value) for value in values]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = [self._one(value, int(row), rejections) for value, row in zip(values, rows, strict=True)]
            rows = rows[[record is not None for record in found]]
            records = [record for record in found if record is not None]
        return Table(rows, {path: self._column(path, records) for path in self._paths})

    def _one(self, value: bytes, row: int, rejections: Rejections) -> Any:
        try:
            return self._decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            try:
                found = _LENIENT.decode(value.decode("utf-8"))
            except UnicodeDecodeError as fault:
                rejections.add(row, Reason.BAD_UTF8, str(fault))
            except RecursionError:
                rejections.add(row, Reason.TOO_DEEP, "nested too deeply")
            except ValueError:
                rejections.add(row, Reason.MALFORMED, str(error))
            else:
                if isinstance(found, dict):
                    return self._record(*(found.get(name) for name in self._names))
                rejections.add(row, Reason.MALFORMED, f"a JSON object is expected, not {type(found).__name__}")
        return None

    def _column(self, path: str, records: list[Any]) -> list[Any]:
        place = self._place[path]
        column = list(map(attrgetter(place), records))
        if "." not in path:
            return column
        parent, *steps = path.split(".")
        inside = self._place[parent]
        return [
            _reach(getattr(record, inside), steps) if value is None else value
            for value, record in zip(column, records, strict=True)
        ]


def _reach(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if type(value) is not dict:
            return None
        value = value.get(step)
    return value
