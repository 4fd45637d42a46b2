"""Keys of `detection.mute`: windows of time in which nobody is alarmed."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from anomaly_daemon.detection.rules import EVERY_DAY, EVERY_STREAM, MuteRule
from anomaly_daemon.settings.section import Section

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Weekday(StrEnum):
    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


def _time_of_day(value: Any) -> Any:
    """`HH:MM[:SS]`, up to 24:00."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError('must be a time of day in quotes, such as "22:00": YAML takes it for a number without them')
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?|24:00(:00)?", value):
        raise ValueError(f'must be a time of day such as "02:00", "23:59:30" or "24:00", not {value!r}')
    return value


def _moment(value: Any) -> Any:
    """ISO 8601; YAML makes dates and times of some of it by itself."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"must be a time in ISO 8601 such as 2026-12-24T18:00, not {value!r}") from error
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    if value is not None and not isinstance(value, datetime):
        raise ValueError(f"must be a time in ISO 8601 such as 2026-12-24T18:00, not {value!r}")
    return value


def _weekday(value: Any) -> Any:
    if isinstance(value, str) and value in set(Weekday):
        return value
    near = difflib.get_close_matches(str(value).lower(), list(Weekday), n=1, cutoff=0.5)
    raise ValueError(
        f"{value!r} is no day of the week; " + (f"did you mean {near[0]}?" if near else ", ".join(Weekday))
    )


TimeOfDay = Annotated[str, BeforeValidator(_time_of_day)]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


class MuteSettings(Section):
    """A window in which streams are not judged: from `start` to `end`, or again and again at a time of day or on days of
    the week, or again and again between the two."""

    name: str = Field(min_length=1)
    """Its name, which must be unique."""
    from_: TimeOfDay | None = Field(None, alias="from")
    """The time of day that it begins at, in `stream.timezone`: HH:MM or HH:MM:SS."""
    to: TimeOfDay | None = None
    """The time of day that it ends at, 24:00 at most; on the next day if that is before `from`."""
    weekdays: list[Annotated[Weekday, BeforeValidator(_weekday)]] | None = Field(None, min_length=1)
    """The days on which it begins; without `from` and `to`, all day long. By default every day."""
    start: Moment | None = None
    """When it begins, or first may: ISO 8601, without an offset in `stream.timezone`."""
    end: Moment | None = None
    """When it is over for good."""
    streams: list[Annotated[str, Field(min_length=1)]] = Field([EVERY_STREAM], min_length=1)
    """Shell patterns of the stream keys that it is for, such as "db/*"."""
    learn: bool = False
    """Whether its events are scored and learned, only without alarms. By default they are left out."""

    @field_validator("from_")
    @classmethod
    def _begins_before_midnight(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("24"):
            raise ValueError('a day begins at "00:00"; 24:00 is its end')
        return value

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if (self.from_ is None) != (self.to is None):
            lacks, there = ("from", "to") if self.from_ is None else ("to", "from")
            raise ValueError(f"{there} needs {lacks}: give both, or weekdays alone for whole days")
        if self.from_ is None and self.weekdays is None and (self.start is None or self.end is None):
            raise ValueError("names no time: give start and end, or from and to, or weekdays")
        if self.from_ is not None and self.to is not None and _seconds(self.from_) == _seconds(self.to):
            raise ValueError(f'from and to are both {self.to}: for the whole day write from: "00:00", to: "24:00"')
        if self.start and self.end and (self.start.tzinfo is None) == (self.end.tzinfo is None):
            _refuse_backwards(self.start, self.end, backwards=self.start >= self.end)
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """By the names of the configuration, and what is not given left out."""
        return {name.rstrip("_"): value for name, value in handler(self).items() if value is not None}

    def rule(self, timezone: str) -> MuteRule:
        """What the detector keeps to. Raises ValueError where it ends before it starts."""
        start = None if self.start is None else _micros(self.start, timezone, 0)
        end = None if self.end is None else max(_micros(self.end, timezone, fold) for fold in (0, 1))
        if self.start and self.end and start is not None and end is not None:
            _refuse_backwards(self.start, self.end, f"detection.mute, {self.name}: ", backwards=start >= end)
        recurs = self.from_ is not None or self.weekdays is not None
        days = EVERY_DAY if self.weekdays is None else sorted({list(Weekday).index(day) for day in self.weekdays})
        begin = _seconds(self.from_ or "00:00") if recurs else None
        until = _seconds(self.to or "24:00") if recurs else None
        return MuteRule(self.name, start, end, begin, until, tuple(days), tuple(self.streams), self.learn)


def _refuse_backwards(start: datetime, end: datetime, where: str = "", *, backwards: bool) -> None:
    if backwards:
        raise ValueError(f"{where}end ({end.isoformat()}) is not after start ({start.isoformat()})")


def _seconds(text: str) -> int:
    hours, minutes, seconds = (int(part) for part in (text + ":00")[:8].split(":"))
    return hours * 3600 + minutes * 60 + seconds


def _micros(moment: datetime, timezone: str, fold: int) -> int:
    """Epoch microseconds; without an offset it is of this zone, and the first (`fold` 0) or the second (1) of two such
    moments where the clock is set back."""
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(timezone), fold=fold)
    return (zoned - EPOCH) // timedelta(microseconds=1)
