"""What becomes of Avro's logical types as a value is decoded: text and numbers, as JSON would have them.

The Apache Avro specification 1.12. What is no valid logical type is none there, and the value is its underlying one: so
it is here. A value that cannot be (a day in the year 5,881,580) is text that is no time: it is a matter of its field, and
not of the record. fastavro's own readers raise for both, whether anybody wants the field or not.

Types that are not here (`timestamp-millis`, `time-micros`, `uuid` of a string, ...) are their number or text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

PREFIX = "anomaly-daemon-"
"""Before the names that fastavro knows these readers by, beside its own."""
MOST_SCALE = 10_000
"""Ten to the power of more takes too long, and no number that a float holds needs it."""
_DAY, _EPOCH = date(1970, 1, 1).toordinal(), datetime(1970, 1, 1)


def _decimal(value: bytes, schema: Any = None, _reader: Any = None) -> int | float:
    """Without a fraction it is whole: identifiers are, and may be longer than what a float holds."""
    number, scale = int.from_bytes(value, "big", signed=True), schema.get("scale") or 0
    if not scale:
        return number
    try:
        return float(number / 10**scale)  # rounded once, of whole numbers of any size
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
"""By underlying and logical type."""


def register() -> None:
    """Once and for all in this process."""
    from fastavro.read import LOGICAL_READERS

    for name, read in READERS.items():
        kind, _, logical = name.partition("-")
        LOGICAL_READERS[f"{kind}-{PREFIX}{logical}"] = read


@cache
def bear() -> None:
    """Have fastavro's own readers, by which container files are read, say None of a value that cannot be: once and for all
    in this process. One such value would end the file."""
    from fastavro.read import LOGICAL_READERS

    for name, read in list(LOGICAL_READERS.items()):
        if PREFIX not in name:
            LOGICAL_READERS[name] = _bearing(read)


def _bearing(read: Callable[..., Any]) -> Callable[..., Any]:
    def read_or_none(*arguments: Any) -> Any:
        try:
            return read(*arguments)
        except (ValueError, OverflowError, LookupError, ArithmeticError):
            return None

    return read_or_none


def as_read(schema: Mapping[str, Any]) -> str | None:
    """The logical type by which a type is to be read here; None where it is its underlying one."""
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
