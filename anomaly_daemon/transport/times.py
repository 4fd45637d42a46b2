"""Event times: converts ISO 8601 text or epoch numbers to epoch microseconds in UTC.

Under `auto`, the unit of an epoch number follows from its magnitude: below 1e11 seconds, below 1e14 milliseconds, below
1e17 microseconds, and nanoseconds above. This holds for times from March 1973 to the year 5138.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.settings import TimeUnit
from anomaly_daemon.transport.columns import Wholes

MISSING = -1
UNREADABLE = -2
LATEST = 253_402_300_799_999_999
"""The last microsecond of the year 9999, which is the last that ISO 8601 text can express."""
NANOSECONDS = {
    TimeUnit.SECONDS: 10**9,
    TimeUnit.MILLISECONDS: 10**6,
    TimeUnit.MICROSECONDS: 10**3,
    TimeUnit.NANOSECONDS: 1,
}
_AUTO = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
"""Upper limits of the number, each with the unit below it in nanoseconds."""
_SCIENTIFIC = re.compile(r"\d(\.\d*)?[eE]\+?\d{1,2}")
"""Floats as numerical programs write them: 1.7723232e+09."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Times:
    """Reads the values of one time field."""

    def __init__(self, unit: TimeUnit, timezone: str, written: str | None = None, decimal: str = ".") -> None:
        """`timezone` applies to text without an offset. `written` is the strptime format of text that is not ISO 8601;
        numbers are then not read. `decimal` is the mark before the fraction of a number in text."""
        self._decimal = decimal
        self._unit, self._zone = TimeUnit.ISO if written else unit, ZoneInfo(timezone)
        self._written = written

    def read(self, column: Sequence[Any]) -> Int64:
        """Return the epoch microseconds of each value; MISSING for null or empty, UNREADABLE for anything that is not a
        time from 1970 to 9999."""
        if self._unit is not TimeUnit.ISO and isinstance(column, Wholes):
            return self._integers(column.number_M)
        if self._unit is not TimeUnit.ISO and _all_whole(column):
            try:
                return self._integers(np.fromiter(map(int, column), np.int64, len(column)))
            except (OverflowError, ValueError):
                pass  # past 64 bits, or past what int reads: decide one by one
        return np.fromiter(map(self._one, column), np.int64, len(column))

    def _integers(self, numbers_M: Int64) -> Int64:
        scale_M = self._scales(numbers_M)
        times_M = np.full(len(numbers_M), UNREADABLE, dtype=np.int64)
        for scale in NANOSECONDS.values():
            most = min(LATEST * 1000 // scale, 2**63 - 1)
            here_M = (scale_M == scale) & (numbers_M >= 0) & (numbers_M <= most)
            there = numbers_M[here_M]
            times_M[here_M] = there * (scale // 1000) if scale >= 1000 else there // 1000
        return times_M

    def _scales(self, numbers_M: Int64) -> Int64:
        if self._unit is not TimeUnit.AUTO:
            return np.full(len(numbers_M), NANOSECONDS[self._unit])
        return np.select(
            [numbers_M < limit for limit, _ in _AUTO], [np.int64(scale) for _, scale in _AUTO], np.int64(1)
        )

    def _one(self, value: Any) -> int:
        if value is None or value == "":
            return MISSING
        try:
            if type(value) is str:
                time = self._text(value.strip())
            elif isinstance(value, int | float) and type(value) is not bool and self._unit is not TimeUnit.ISO:
                time = self._number(value)
            else:
                return UNREADABLE
        except (ValueError, OverflowError, InvalidOperation):
            return UNREADABLE
        return time if 0 <= time <= LATEST else UNREADABLE

    def _text(self, text: str) -> int:
        number = text.replace(self._decimal, ".", 1)
        if self._unit is not TimeUnit.ISO and _numeric(number):
            return self._number(int(number) if number.isdigit() else Decimal(number))
        if self._unit not in (TimeUnit.ISO, TimeUnit.AUTO):
            return UNREADABLE
        if self._written is not None:
            return _microseconds(datetime.strptime(text, self._written), self._zone)
        return iso_microseconds(text, self._zone)

    def _number(self, value: float | Decimal) -> int:
        """Convert an epoch number. Decimal is used, as a float of nanoseconds would lose the last digits."""
        size: Any = abs(value)
        if not size < 1e30:
            return UNREADABLE
        if self._unit is TimeUnit.AUTO:
            scale = next((scale for limit, scale in _AUTO if size < limit), 1)
        else:
            scale = NANOSECONDS[self._unit]
        if type(value) is int:
            return value * scale // 1000
        return round(Decimal(value) * scale / 1000)


def _all_whole(column: Sequence[Any]) -> bool:
    kinds = set(map(type, column))
    return kinds == {int} or (kinds == {str} and all(map(str.isdecimal, column)) and "".join(column).isascii())


def _numeric(text: str) -> bool:
    """Whether the text looks like an epoch number: digits with at most one point, or a power of ten. "20240101" does
    too: such dates need dashes, `time_unit: iso` or a `time_format`."""
    if len(text) > 40 or not text.isascii():
        return False
    return text.replace(".", "", 1).isdigit() or _SCIENTIFIC.fullmatch(text) is not None


def iso_microseconds(text: str, zone: tzinfo) -> int:
    """Return the epoch microseconds of ISO 8601 text, in `zone` if it has no offset. Raises ValueError if it is not
    such text."""
    if text.endswith("z") and text[-2:-1].isdigit():  # RFC 3339 has it in either case, Python has not
        text = f"{text[:-1]}Z"
    return _microseconds(datetime.fromisoformat(text), zone)


def _microseconds(moment: datetime, zone: tzinfo) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return (moment - _EPOCH) // _MICROSECOND
