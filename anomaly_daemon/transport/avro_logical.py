"""Converts the values of Avro's logical types, while they are decoded, to the text and numbers that JSON would have.

The rules are those of the Apache Avro specification 1.12: an invalid logical type is ignored, and the value is read as
its underlying type. A value out of range (a day in the year 5,881,580) becomes text that cannot be read as a time. So
it makes only its field unreadable, and not the record. fastavro's own readers raise an exception in both cases, even if
the field is not wanted.

Types that are not in `READERS` (`timestamp-millis`, `time-micros`, `uuid` of a string, ...) stay the number or text
that they are stored as.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

PREFIX = "anomaly-daemon-"
"""Prefix of the logical type names under which these readers are registered with fastavro, so that they do not replace
its own."""
MOST_SCALE = 10_000
"""Largest scale that is read as a decimal. A larger power of ten takes too long to compute, and no number that a float
holds needs one."""
_DAY, _EPOCH = date(1970, 1, 1).toordinal(), datetime(1970, 1, 1)


def _decimal(value: bytes, schema: Any = None, _reader: Any = None) -> int | float:
    """Return the decimal as a number. Without a scale it is an int, because identifiers are stored that way and may
    have more digits than a float holds."""
    number, scale = int.from_bytes(value, "big", signed=True), schema.get("scale") or 0
    if not scale:
        return number
    try:
        return float(number / 10**scale)  # both are integers of any size, so this rounds only once
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _date(value: int, _schema: Any = None, _reader: Any = None) -> str:
    try:
        return date.fromordinal(_DAY + value).isoformat()
    except (ValueError, OverflowError):
        return f"day {value} after 1970"


def _local(per_second: int) -> Callable[..., str]:
    def read(value: int, _schema: Any = None, _reader: Any = None) -> str:
        try:
            return (_EPOCH + timedelta(microseconds=value * 1_000_000 // per_second)).isoformat()
        except OverflowError:
            return f"{value}/{per_second} s after 1970"

    return read


def _uuid(value: bytes, _schema: Any = None, _reader: Any = None) -> str:
    return str(UUID(bytes=value))


READERS: Mapping[str, Callable[..., Any]] = {
    "bytes-decimal": _decimal,
    "fixed-decimal": _decimal,
    "int-date": _date,
    "long-local-timestamp-millis": _local(1000),
    "long-local-timestamp-micros": _local(1_000_000),
    "long-local-timestamp-nanos": _local(1_000_000_000),
    "fixed-uuid": _uuid,
}
"""The readers, by `<underlying type>-<logical type>`."""


def register() -> None:
    """Register the readers with fastavro, for the lifetime of this process."""
    from fastavro.read import LOGICAL_READERS

    for name, read in READERS.items():
        kind, _, logical = name.partition("-")
        LOGICAL_READERS[f"{kind}-{PREFIX}{logical}"] = read


@cache
def tolerate_invalid_values() -> None:
    """Make fastavro's own readers, which are used for container files, return None for a value out of range. Otherwise
    one such value would end the reading of the file. It is done once, and holds for the lifetime of this process."""
    from fastavro.read import LOGICAL_READERS

    for name, read in list(LOGICAL_READERS.items()):
        if PREFIX not in name:
            LOGICAL_READERS[name] = _tolerant(read)


def _tolerant(read: Callable[..., Any]) -> Callable[..., Any]:
    def read_or_none(*arguments: Any) -> Any:
        try:
            return read(*arguments)
        except (ValueError, OverflowError, LookupError, ArithmeticError):
            return None

    return read_or_none


def as_read(schema: Mapping[str, Any]) -> str | None:
    """Return the name of the logical type with which this type is to be read, or None if it is read as its underlying
    type."""
    logical = schema.get("logicalType")
    kind = schema.get("type")
    if not (isinstance(kind, str) and isinstance(logical, str) and f"{kind}-{logical}" in READERS):
        return None
    fits = _is_decimal(schema) if logical == "decimal" else logical != "uuid" or schema.get("size") == 16
    return PREFIX + logical if fits else None


def _is_decimal(schema: Mapping[str, Any]) -> bool:
    precision, scale = schema.get("precision"), schema.get("scale") or 0
    if type(precision) is not int or type(scale) is not int:
        return False
    return precision > 0 and 0 <= scale <= min(precision, MOST_SCALE)
