"""Reads fields of JSON values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.columns import Table
from anomaly_daemon.transport.json_tree import REGISTRY_PREFIX, lenient_tree
from anomaly_daemon.transport.plain_json import PlainJson
from anomaly_daemon.transport.rejection import ONE_EACH, Reason, Rejections, Unreadable

_PLACE = re.compile("[0-9]{1,9}")
_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


class JsonFields:
    """Reads the wanted fields and skips all others.

    A path with dots is looked up as one name first, and then as a path into nested objects and lists. Any name on that
    path may contain dots itself. If a record has a name twice, the last value counts. NaN and Infinity, which are not
    JSON but are written by Python, are read.

    In most batches every numeric field is a number, null or absent. Their numbers are read straight into one array, and
    the whole batch in one pass if it is plain (`plain_json`). If any record does not fit, the batch is read again by a
    decoder that accepts more, and at last by one that accepts anything. All of them give the same result for what they
    accept.
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
        """Return the fields of the values that are JSON objects. `rows` are the places of the values in the batch.
        Other values are added to `rejections`."""
        values = _bare(values)
        for quick in self._quick:
            if (table := quick.read(values, rows)) is not None:
                return table
        return self._any(values, rows, rejections)

    def warm(self) -> None:
        """Compile (or load) now what would otherwise be compiled at the first record."""
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
                found = lenient_tree(value, str(error))
            except Unreadable as why:
                rejections.add(row, why.reason, why.detail)
                return None
        if isinstance(found, dict):
            return self._record(*(found.get(name) for name in self._names))
        rejections.add(row, Reason.MALFORMED, f"a JSON object is expected, not {_kind(found)}")
        return None

    def _by_name(self, value: bytes) -> Any:
        """Decode like the struct decoder, for names that a struct decoder cannot be given. As there, unwanted fields
        are not decoded."""
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
                reach(within, rest) if value is None else value for value, within in zip(column, inside, strict=True)
            ]
        return column


class _Typed:
    """Reads objects whose wanted names are plain, and in which the numeric ones hold numbers, null or nothing."""

    def __init__(self, paths: Sequence[str], numeric: Sequence[str]) -> None:
        self._others = [path for path in paths if path not in numeric]
        self._width = len(numeric)
        numbers = [(f"n{place}", float | None, math.nan) for place in range(self._width)]
        fields = [(f"f{place}", object, None) for place in range(len(self._others))]
        names = [name for name, _, _ in (*numbers, *fields)]
        rename = dict(zip(names, (*numeric, *self._others), strict=True))
        record = msgspec.defstruct("Record", [*numbers, *fields], rename=rename, gc=False)
        self._decode = msgspec.json.Decoder(record).decode
        self._numbers = attrgetter(*names[: self._width], *names[:1])  # at least two names, so that it returns a tuple
        self._fields = [attrgetter(name) for name in names[self._width :]]

    def read(self, values: Sequence[bytes], rows: Int64) -> Table | None:
        """Return the fields, or None if any value does not fit."""
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
    """Return the values without the registry prefix. No value is empty."""
    if 0 not in bytes(map(itemgetter(0), values)):
        return values
    return [value[REGISTRY_PREFIX:] if value[0] == 0 else value for value in values]


def _is_plain(name: str) -> bool:
    """Whether JSON writes the name without an escape, and UTF-8 can encode it."""
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "ignore").decode() == f'"{name}"'


def _ways(path: str) -> list[tuple[str, str]]:
    """Return the pairs of first name and remaining path for a cut at each dot of the path, the shortest first name
    first."""
    return [(path[:at], path[at + 1 :]) for at, letter in enumerate(path) if letter == "."]


def reach(value: Any, path: str) -> Any:
    """Return the value at the path within `value`, or None. At each dot the shorter name is tried first, and then names
    that contain dots. In a list, a name is the place of an element, counted from 0."""
    if type(value) is list:
        place, _, rest = path.partition(".")
        element = value[int(place)] if _PLACE.fullmatch(place) and int(place) < len(value) else None
        return reach(element, rest) if rest else element
    if type(value) is not dict:
        return None
    at = path.find(".")
    while at >= 0:
        inside = value.get(path[:at])
        if inside is not None and (found := reach(inside, path[at + 1 :])) is not None:
            return found
        at = path.find(".", at + 1)
    return value.get(path)
