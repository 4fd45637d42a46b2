"""Fields of JSON values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.columns import Table
from anomaly_daemon.transport.plain_json import PlainJson
from anomaly_daemon.transport.rejection import ONE_EACH, Reason, Rejections

REGISTRY_PREFIX = 5
"""A schema registry's wire format begins with a zero byte and the four bytes of the schema's id."""
_DIGITS = 400
"""A float holds no integer of more digits, and Python refuses to parse one of thousands."""


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else float(digits)


_LENIENT = json.JSONDecoder(parse_int=_integer)
_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


class JsonFields:
    """Reads the wanted fields and passes over all others.

    A path with dots is looked up as one name first, and then as a way into nested objects, of which any name may hold dots
    itself. Of a name that a record holds twice the last one counts. NaN and Infinity, which JSON does not know and Python
    writes, are read.

    Batches in which every numeric field is a number, null or absent are the rule: their numbers are read as such, straight
    into one array, and all of a batch in one pass where it is plain (`plain_json`). One record that is otherwise, and the
    batch is read again in a way that is good for more, and then for anything. All of them read the same.
    """

    def __init__(self, paths: Iterable[str], numeric: Sequence[str] = ()) -> None:
        """`numeric`: those of the paths that should hold numbers."""
        self._paths = tuple(dict.fromkeys(paths))
        self._ways = {path: _ways(path) for path in self._paths}
        parents = [parent for ways in self._ways.values() for parent, _ in ways]
        self._names = tuple(dict.fromkeys((*self._paths, *parents)))
        self._place = {name: f"f{number}" for number, name in enumerate(self._names)}
        fields = [(place, object, None) for place in self._place.values()]
        plain = all(map(_is_plain, self._names))
        rename = {place: name for name, place in self._place.items()} if plain else None
        self._record = msgspec.defstruct("Record", fields, rename=rename, gc=False)
        self._decode = msgspec.json.Decoder(self._record).decode if plain else self._by_name
        self._quick: tuple[PlainJson | _Typed, ...] = ()
        if numeric and plain and not parents:
            self._quick = PlainJson(self._paths, numeric), _Typed(self._paths, numeric)

    def read(self, values: Sequence[bytes], rows: Int64, rejections: Rejections) -> Table:
        """The fields of the values that are JSON objects; `rows` are the values' places in the batch."""
        values = _bare(values)
        for quick in self._quick:
            if (table := quick.read(values, rows)) is not None:
                return table
        return self._any(values, rows, rejections)

    def warm(self) -> None:
        """Have what is compiled at its first call ready before a record comes."""
        for quick in self._quick:
            if isinstance(quick, PlainJson):
                quick.warm()

    def _any(self, values: Sequence[bytes], rows: Int64, rejections: Rejections) -> Table:
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
            except ValueError as fault:
                several = isinstance(fault, json.JSONDecodeError) and fault.msg == "Extra data"
                rejections.add(row, Reason.MALFORMED, f"several JSON values: {ONE_EACH}" if several else str(error))
            else:
                if isinstance(found, dict):
                    return self._record(*(found.get(name) for name in self._names))
                rejections.add(row, Reason.MALFORMED, f"a JSON object is expected, not {_kind(found)}")
        return None

    def _by_name(self, value: bytes) -> Any:
        """What the decoder of a struct does, for names that none can have: as there, what is not wanted is not read."""
        found = _RAW.decode(value)
        wanted = map(found.get, self._names)
        return self._record(*(None if raw is None else msgspec.json.decode(raw) for raw in wanted))

    def _column(self, path: str, records: list[Any]) -> list[Any]:
        column = list(map(attrgetter(self._place[path]), records))
        for parent, rest in self._ways[path]:
            if None not in column:
                break
            inside = map(attrgetter(self._place[parent]), records)
            column = [
                _reach(within, rest) if value is None else value for value, within in zip(column, inside, strict=True)
            ]
        return column


class _Typed:
    """Plain names, of which the numeric ones hold numbers."""

    def __init__(self, paths: Sequence[str], numeric: Sequence[str]) -> None:
        self._others = [path for path in paths if path not in numeric]
        self._width = len(numeric)
        numbers = [(f"n{place}", float | None, math.nan) for place in range(self._width)]
        fields = [(f"f{place}", object, None) for place in range(len(self._others))]
        names = [name for name, _, _ in (*numbers, *fields)]
        rename = dict(zip(names, (*numeric, *self._others), strict=True))
        record = msgspec.defstruct("Record", [*numbers, *fields], rename=rename, gc=False)
        self._decode = msgspec.json.Decoder(record).decode
        self._numbers = attrgetter(*names[: self._width], *names[:1])  # two at least, so that it gives a tuple
        self._fields = [attrgetter(name) for name in names[self._width :]]

    def read(self, values: Sequence[bytes], rows: Int64) -> Table | None:
        """None where some value is not as it should be."""
        try:
            records = list(map(self._decode, values))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        shape = (len(records), self._width + 1)
        try:
            flat = chain.from_iterable(map(self._numbers, records))
            numbers_MD = np.fromiter(flat, np.float64, shape[0] * shape[1]).reshape(shape)
        except TypeError:  # a null
            numbers_MD = np.array(list(map(self._numbers, records)), np.float64)
        columns = {path: list(map(of, records)) for path, of in zip(self._others, self._fields, strict=True)}
        return Table(rows, columns, np.ascontiguousarray(numbers_MD[:, : self._width]))


def _kind(value: Any) -> str:
    return f"a list: {ONE_EACH}" if isinstance(value, list) else type(value).__name__


def _bare(values: Sequence[bytes]) -> Sequence[bytes]:
    """Without a registry's prefix; none is empty."""
    if 0 not in bytes(map(itemgetter(0), values)):
        return values
    return [value[REGISTRY_PREFIX:] if value[0] == 0 else value for value in values]


def _is_plain(name: str) -> bool:
    """Whether JSON writes it as it stands, without an escape, and UTF-8 can."""
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "ignore").decode() == f'"{name}"'


def _ways(path: str) -> list[tuple[str, str]]:
    """The first name and what is left of the path, cut at each of its dots, the shortest name first."""
    return [(path[:at], path[at + 1 :]) for at, letter in enumerate(path) if letter == "."]


def _reach(value: Any, path: str) -> Any:
    """What the path leads to from here: name by name, and where that leads nowhere by names that hold dots."""
    if type(value) is not dict:
        return None
    at = path.find(".")
    while at >= 0:
        inside = value.get(path[:at])
        if inside is not None and (found := _reach(inside, path[at + 1 :])) is not None:
            return found
        at = path.find(".", at + 1)
    return value.get(path)
