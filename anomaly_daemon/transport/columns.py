"""Columns of decoded fields, and their conversion to numbers, categories and stream keys.

Shapes: M rows of a table. A field's raw value is a JSON value or a CSV text, and None where the record has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import (
    CATEGORY_CHARACTERS,
    MISSING_CATEGORY,
    Float64,
    Int32,
    Int64,
    Presence,
    UInt8,
    category_code,
)
from anomaly_daemon.settings import StreamSettings

KEY_CHARACTERS = 1024
"""Longer stream keys are refused, because each key is held in memory for as long as its stream."""
CSV_ABSENT = frozenset({"", "na", "n/a", "null", "none"})
_KNOWN_CATEGORIES = 65_536

Column = Sequence[Any]
Key = TypeVar("Key", bound=Hashable)
NumberOf = Callable[[Any], tuple[float, Presence]]
NumbersOf = Callable[[Column], tuple[Float64, UInt8]]
FROM_COMMA = str.maketrans({",": ".", ".": "\0"})


class Texts(Sequence[str]):
    """A column of texts in which few distinct texts occur."""

    def __init__(self, distinct: tuple[str, ...], place_M: Int32) -> None:
        """`place_M`: the index in `distinct` of each row's text."""
        self.distinct, self.place_M = distinct, place_M

    def __len__(self) -> int:
        return len(self.place_M)

    def __iter__(self) -> Iterator[str]:
        return map(self.distinct.__getitem__, self.place_M.tolist())

    def __getitem__(self, row: Any) -> Any:
        return self.distinct[self.place_M[row]]


class Wholes(Sequence[int]):
    """A column of whole numbers, held as one array."""

    def __init__(self, number_M: Int64) -> None:
        self.number_M = number_M

    def __len__(self) -> int:
        return len(self.number_M)

    def __iter__(self) -> Iterator[int]:
        return iter(self.number_M.tolist())

    def __getitem__(self, row: Any) -> Any:
        return int(self.number_M[row])


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of M records. `rows` are the places of the records in the batch; `columns` are the raw values, by
    path."""

    rows: Int64
    columns: Mapping[str, Column]
    numbers: Float64 | None = None
    """[M, D] The numeric features, if all of their values were numbers, null or absent (both NaN). None: they are in
    `columns`."""
    index_M: Int64 | None = None
    """Where a message may hold several records: the place of each record in its message, which `rows` then has several
    times."""

    def where(self, kept_M: npt.NDArray[np.bool_]) -> Table:
        if kept_M.all():
            return self
        places = np.flatnonzero(kept_M).tolist()
        columns = {path: [column[place] for place in places] for path, column in self.columns.items()}
        numbers = None if self.numbers is None else self.numbers[kept_M]
        index_M = None if self.index_M is None else self.index_M[kept_M]
        return Table(self.rows[kept_M], columns, numbers, index_M)

    def named(self, place: int, detail: str) -> str:
        """Return the detail of a rejection, with the record it is about where a message may hold several."""
        return detail if self.index_M is None else f"reading {self.index_M[place]}: {detail}"


def json_numbers(column: Column) -> tuple[Float64, UInt8]:
    """Return the numbers of a column of JSON values, and their presence. A value that is not a number is NaN, and its
    presence gives the reason. Numeric text and booleans do not count as numbers.

    Here and in the functions below, a number that is not finite is PRESENT. `finite` marks it later, after the values
    that stand for "missing" have been removed.
    """
    kinds = set(map(type, column))
    if kinds <= {float, int, type(None)}:
        try:
            values_M = np.array(column, dtype=np.float64)
        except OverflowError:  # an integer past the range of a float
            return _one_by_one(column, _json_number)
        absent_M = np.fromiter((value is None for value in column), bool, len(column))
        return values_M, np.where(absent_M, Presence.ABSENT, Presence.PRESENT).astype(np.uint8)
    return _one_by_one(column, _json_number)


def csv_numbers(column: Column) -> tuple[Float64, UInt8]:
    """Return the numbers of a column of CSV texts, as json_numbers does. A few usual texts (NA, null) mean that there
    is no number."""
    try:
        values_M = np.fromiter(map(float, column), np.float64, len(column))
    except (ValueError, TypeError):
        return _one_by_one(column, _csv_number)
    if "_" in "".join(column):
        return _one_by_one(column, _csv_number)
    return values_M, np.full(len(column), Presence.PRESENT, np.uint8)


def comma_numbers(column: Column) -> tuple[Float64, UInt8]:
    """Return the numbers of CSV texts with a decimal comma, as csv_numbers does. A text that contains a point is not a
    number, since the point may be a thousands separator."""
    return csv_numbers([None if value is None else value.translate(FROM_COMMA) for value in column])


def quoted_numbers(column: Column, texts: NumbersOf) -> tuple[Float64, UInt8]:
    """Return the numbers of JSON values, as json_numbers does, but with texts converted by `texts`."""
    is_text = np.fromiter((type(value) is str for value in column), bool, len(column))
    if is_text.all():
        return texts(column)
    values_M, presence_M = json_numbers([None if one else value for value, one in zip(column, is_text, strict=True)])
    values_M[is_text], presence_M[is_text] = texts([value for value in column if type(value) is str])
    return values_M, presence_M


def numbers_of(stream: StreamSettings) -> NumbersOf:
    """Return the conversion for numeric fields that `format`, `text_numbers` and `decimal` of the settings ask for."""
    texts = comma_numbers if stream.decimal == "," else csv_numbers
    if stream.format == "csv":
        return texts
    return partial(quoted_numbers, texts=texts) if stream.text_numbers else json_numbers


def present(values: Float64) -> UInt8:
    """Return the presence of values of which NaN means "absent": ABSENT for NaN, else PRESENT."""
    return np.where(np.isnan(values), Presence.ABSENT, Presence.PRESENT).astype(np.uint8)


def finite(values: Float64, presence: UInt8, limit: float) -> tuple[Float64, UInt8]:
    """Return the values and presence with each PRESENT value that is not finite, or above `limit` in magnitude, turned
    into NaN and NOT_FINITE."""
    wild = (presence == Presence.PRESENT) & ~(np.abs(values) <= limit)
    if wild.any():
        presence = np.where(wild, np.uint8(Presence.NOT_FINITE), presence)
        values = np.where(wild, np.nan, values)
    return values, presence


def _one_by_one(column: Column, number_of: NumberOf) -> tuple[Float64, UInt8]:
    pairs = [number_of(value) for value in column]
    values_M = np.fromiter((value for value, _ in pairs), np.float64, len(pairs))
    return values_M, np.fromiter((presence for _, presence in pairs), np.uint8, len(pairs))


def _json_number(value: Any) -> tuple[float, Presence]:
    if value is None or value == "":
        return math.nan, Presence.ABSENT
    if type(value) is float:
        return value, Presence.PRESENT
    if type(value) is int:
        try:
            return float(value), Presence.PRESENT
        except OverflowError:
            return math.inf, Presence.PRESENT
    return math.nan, Presence.WRONG_TYPE


def _csv_number(value: str | None) -> tuple[float, Presence]:
    if value is None or value.strip().lower() in CSV_ABSENT:
        return math.nan, Presence.ABSENT
    try:
        return number_of_text(value), Presence.PRESENT
    except ValueError:
        return math.nan, Presence.WRONG_TYPE


def number_of_text(text: str) -> float:
    """Return the number that Python's `float` reads from the text. Text with an underscore is refused: `1_000` is a
    thousand in Python, but a name in data. Raises ValueError."""
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text)


def text_of(value: Any) -> str | None:
    """Return a scalar as the text that names a stream, metric or category, or None for anything else. Floats are not
    accepted as names."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int and abs(value) < 10**30:
        return str(value)
    return None


class Categories:
    """The codes of category texts, cached up to a limit. A code depends on its text alone, so clearing the cache
    changes nothing."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def codes(self, column: Column) -> Int64:
        """Return the code of each value; 0 if it is missing or not of a type that names a category."""
        if isinstance(column, Texts):
            return np.fromiter(map(self._code, column.distinct), np.int64, len(column.distinct))[column.place_M]
        return np.fromiter(map(self._code, column), np.int64, len(column))

    def names(self, columns: Iterable[Column]) -> dict[int, str]:
        """Return the text of each code in the columns, truncated and made valid UTF-8 for display."""
        texts = {text for column in columns for value in _differing(column) if (text := text_of(value))}
        return {self._code(text): _shown(text) for text in sorted(texts)}

    def _code(self, value: Any) -> int:
        text = text_of(value)
        if not text:
            return MISSING_CATEGORY
        code = self._codes.get(text)
        if code is None:
            if len(self._codes) >= _KNOWN_CATEGORIES:
                self._codes.clear()
            code = self._codes[text] = category_code(text)
        return code


def _differing(column: Column) -> Column:
    return column.distinct if isinstance(column, Texts) else column


def _shown(text: str) -> str:
    return text[:CATEGORY_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def number_streams(keys: Sequence[Key]) -> tuple[tuple[Key, ...], npt.NDArray[np.int32]]:
    """Return the distinct keys in order of first appearance, and the index of each key among them."""
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return tuple(places), np.fromiter(map(places.__getitem__, keys), np.int32, len(keys))
