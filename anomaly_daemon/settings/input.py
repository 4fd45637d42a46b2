"""Keys of `source` and `stream`: where records come from, and how they become observations."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from anomaly_daemon.detection.observation import Direction, Numeric, Schema, Transform
from anomaly_daemon.settings.absent import MissingValues
from anomaly_daemon.settings.section import Section

MOST_MAGNITUDE = 1e30
"""What is kept of a stream in four bytes, and the squares of what is kept in eight, have room for no more: it would be
infinite there for good."""


class SourceSettings(Section):
    kind: Literal["kafka", "files"] = "kafka"
    """kafka: a topic, for as long as the daemon lives. files: files or standard input, to their end."""
    topic: str | None = Field(None, min_length=1)
    """The Kafka topic to read."""
    paths: list[str] = []
    """The files to read, in order, each one partition; "-" is standard input."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin when the group has committed nothing yet."""
    poll_seconds: float = Field(0.2, gt=0)
    """The longest wait for records before timers (silence, commits, snapshots) are looked at."""

    @model_validator(mode="after")
    def _names_its_input(self) -> Self:
        if self.kind == "kafka" and not self.topic:
            raise ValueError("kind is kafka: set source.topic")
        if self.kind == "files" and not self.paths:
            raise ValueError('kind is files: set source.paths (a list of files, or ["-"] for standard input)')
        return self


class NumericField(Section):
    name: str
    """Its name in alerts."""
    field: str | None = None
    """Where it stands in the record, by default `name`; dots reach into nested objects. Long shape: the metric name."""
    transform: Transform = Transform.NONE
    """log: signed log(1 + |x|), for amounts and counts over several orders of magnitude."""
    direction: Direction = Direction.BOTH
    """On which side of what is usual a value is an anomaly: both, above (an amount, a latency) or below (a yield)."""
    min_deviation: float = Field(0.0, ge=0, allow_inf_nan=False)
    """No alarm for less than this far from what was expected, in the field's own units. 0: however near."""
    min_deviation_percent: float = Field(0.0, ge=0, allow_inf_nan=False)
    """No alarm for less than this many percent of the size of what was expected. With both, a deviation must reach both."""
    missing_values: MissingValues = []
    """What the source writes where there is no value, such as [-9999, -999.25] or ["Bad Input"]: it counts as absent."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, schema_of: GetJsonSchemaHandler) -> JsonSchemaValue:
        """In a list of features a bare name will do."""
        return {"anyOf": [{"type": "string"}, schema_of(core)]}


class TimeUnit(StrEnum):
    AUTO = "auto"
    ISO = "iso"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


class CsvSettings(Section):
    delimiter: str = Field(",", min_length=1, max_length=1)
    """The one character between two columns."""
    columns: list[str] | None = None
    """The column names. Needed for Kafka values; a file's first line names them when this is not set."""


class StreamSettings(Section):
    """How a record becomes observations: format, shape, stream key, time and features."""

    format: Literal["json", "csv", "packed"] = "json"
    """packed: many numeric readings in one message, see docs/input.md."""
    shape: Literal["wide", "long"] = "wide"
    """wide: one record holds every feature. long: one record holds one metric's value."""
    key: list[str] = []
    """The fields that name the stream, joined by "/"; empty: the Kafka key."""
    time: str | None = None
    """The field of the event time; none: the record's own timestamp."""
    time_unit: TimeUnit = TimeUnit.AUTO
    """auto: ISO 8601 text, or an epoch number whose unit is told by its magnitude; else iso, s, ms, us or ns."""
    time_format: str | None = None
    """Of times as text that is not ISO 8601, in the letters of Python's strptime, such as "%d.%m.%Y %H:%M:%S"."""
    timezone: str = "UTC"
    """IANA zone of the calendar features, and of ISO times without an offset."""
    numeric: list[NumericField] = []
    """Numeric features: names, or {name: flow, ...} with the keys named under stream.numeric[]."""
    categorical: list[str] = []
    """Fields that hold one of a set of texts, such as a channel or a category."""
    labels: dict[str, str] = {}
    """Labels copied into every alert."""
    metric: str = "metric"
    """Long shape: the field that names the metric."""
    value: str = "value"
    """Long shape: the field that holds the value."""
    csv: CsvSettings = CsvSettings()
    """How CSV lines are read."""
    text_numbers: bool = False
    """JSON: a number in quotes counts as one, "12.5" as 12.5. CSV knows nothing else."""
    decimal: Literal[".", ","] = "."
    """The mark before the fraction of numbers that are text. With "," a text that holds a point is no number."""
    late: Literal["skip", "dead_letter", "accept"] = "skip"
    """A record older than its stream's newest: skip and count, dead-letter it, or accept it as if it came just now."""
    magnitude_limit: float = Field(MOST_MAGNITUDE, gt=0, le=MOST_MAGNITUDE)
    """A larger magnitude counts as not finite."""
    missing_values: MissingValues = []
    """As a field's own, of every numeric field: numbers and texts that stand for "missing". A field's own join them."""
    ahead_limit_seconds: float = Field(86_400.0, gt=0)
    """An event time further than this past the record's append time is dead-lettered: it would age every stream."""

    @field_validator("numeric", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]

    @field_validator("time_format")
    @classmethod
    def _tells_a_day(cls, value: str | None) -> str | None:
        if value is None:
            return value
        moment = datetime(2026, 3, 1, 13, 45, 59, tzinfo=UTC)  # so that %z has something to say
        try:
            day = datetime.strptime(moment.strftime(value), value).date()
        except ValueError as error:
            raise ValueError(f"{value!r} is not a format of strptime, such as '%d.%m.%Y %H:%M:%S': {error}") from error
        if day != moment.date():
            raise ValueError(f"{value!r} does not tell year, month and day, as '%d.%m.%Y %H:%M:%S' does")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from error
        return value

    @model_validator(mode="after")
    def _has_one_form_of_time(self) -> Self:
        if self.time_format is not None and self.time_unit not in (TimeUnit.AUTO, TimeUnit.ISO):
            raise ValueError(
                f"stream.time_format is for text, and stream.time_unit {self.time_unit} for numbers: keep one"
            )
        return self

    @model_validator(mode="after")
    def _has_features(self) -> Self:
        names = [feature.name for feature in self.numeric] + self.categorical
        if not names:
            raise ValueError("stream.numeric and stream.categorical are both empty: name at least one feature")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"features named twice: {', '.join(sorted(twice))}")
        if self.format == "packed" and (self.categorical or self.shape == "long"):
            raise ValueError("the packed format carries numeric features in the wide shape only")
        if self.shape == "long" and self.categorical:
            raise ValueError("the long shape carries numeric metrics only: remove stream.categorical")
        return self

    @model_validator(mode="after")
    def _packs_no_text(self) -> Self:
        named = [self.missing_values, *(feature.missing_values for feature in self.numeric)]
        if self.format == "packed" and any(isinstance(value, str) for values in named for value in values):
            raise ValueError("the packed format carries no text: missing_values are numbers there")
        return self

    def schema_(self) -> Schema:
        """The schema the detector sees: where a field stands and what is missing in it is the decoder's alone."""
        unseen = {"field", "missing_values"}
        numeric = tuple(Numeric(**feature.model_dump(exclude=unseen)) for feature in self.numeric)
        return Schema(numeric, tuple(self.categorical), self.timezone)
