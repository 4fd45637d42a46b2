"""Keys of `source` and `stream`: where records come from, and how they become observations."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from anomaly_daemon.detection.observation import Direction, Numeric, Schema, Transform
from anomaly_daemon.settings.absent import MissingValues
from anomaly_daemon.settings.avro import AvroSettings
from anomaly_daemon.settings.protobuf import ProtobufSettings
from anomaly_daemon.settings.section import Section, TopicName

MOST_MAGNITUDE = 1e30
"""What is kept of a stream in four bytes, and the squares of what is kept in eight, have room for no more: it would be
infinite there for good."""


class SourceSettings(Section):
    kind: Literal["kafka", "files"] = "kafka"
    """kafka: a topic, for as long as the daemon lives. files: files or standard input, to their end."""
    topic: TopicName | None = None
    """The Kafka topic to read."""
    paths: list[str] = []
    """The files to read, in order, each one partition; "-" is standard input."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin when the group has committed nothing yet."""
    poll_seconds: float = Field(0.2, gt=0, le=86_400)
    """The longest wait for records before timers (silence, commits, snapshots) are checked; above 1 it counts as 1."""

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
    """Its place in the record, by default `name`; dots reach into nested objects. Long shape: the metric name."""
    transform: Transform = Transform.NONE
    """log: signed log(1 + |x|), for amounts over orders of magnitude. rate: how much a second, for counters."""
    direction: Direction = Direction.BOTH
    """On which side of what is usual a value is an anomaly: both, above (an amount, a latency) or below (a yield)."""
    min_deviation: float = Field(0.0, ge=0, allow_inf_nan=False)
    """The least deviation from the expected value that alarms, in the field's own units. 0: any deviation."""
    min_deviation_percent: float = Field(0.0, ge=0, allow_inf_nan=False)
    """The least deviation that alarms, in percent of the expected value's size. With both, it must reach both."""
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
    """The character between two columns."""
    columns: list[str] | None = None
    """The column names. Needed for Kafka values; a file's first line names them when this is not set."""

    @field_validator("delimiter")
    @classmethod
    def _parts_columns(cls, value: str) -> str:
        if value in ('"', "\n", "\r"):
            raise ValueError(f"{value!r} cannot part columns: it quotes a text or ends a line")
        return value


class StreamSettings(Section):
    """How a record becomes observations: format, shape, stream key, time and features."""

    format: Literal["json", "csv", "avro", "protobuf", "influx", "otlp_json", "otlp_proto", "packed"] = "json"
    """influx: InfluxDB line protocol. otlp_json, otlp_proto: OpenTelemetry metrics. packed: arrays. See docs/input.md."""
    unnest: str | None = Field(None, min_length=1)
    """JSON, Avro, Protobuf: the path of a list of records in each message; "." if the message itself is the list."""
    shape: Literal["wide", "long"] = "wide"
    """wide: one record holds every feature. long: one record holds one metric's value."""
    key: list[str] = []
    """The fields that name the stream, joined by "/"; empty: the Kafka key."""
    time: str | None = None
    """The field of the event time; none: the record's own timestamp."""
    time_unit: TimeUnit = TimeUnit.AUTO
    """auto: ISO 8601 text, or an epoch number whose unit follows from its magnitude; else iso, s, ms, us or ns."""
    time_format: str | None = None
    """The format of times as text that is not ISO 8601, in the codes of Python's strptime, such as "%d.%m.%Y %H:%M:%S"."""
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
    avro: AvroSettings = AvroSettings()
    """Where the schemas of Avro values are found."""
    protobuf: ProtobufSettings = ProtobufSettings()
    """Where the schemas of Protobuf values are found."""
    text_numbers: bool = False
    """JSON: a number in quotes counts as a number, "12.5" as 12.5. In CSV it always does."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers that are text. With "," a text that holds a point is not a number."""
    late: Literal["skip", "dead_letter", "accept"] = "skip"
    """A record older than its stream's newest: skip and count, dead-letter it, or accept it as if it came just now."""
    magnitude_limit: float = Field(MOST_MAGNITUDE, gt=0, le=MOST_MAGNITUDE)
    """A larger magnitude counts as not finite."""
    missing_values: MissingValues = []
    """Numbers and texts that mean "missing" in every numeric field. A field's own are added to them."""
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
        except (ValueError, re.error) as error:  # the second where a code occurs twice
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
        metrics = [feature.field or feature.name for feature in self.numeric]
        if self.shape == "long" and (shared := {metric for metric in metrics if metrics.count(metric) > 1}):
            raise ValueError(f"in the long shape each metric has one feature, and several name {min(shared)}: keep one")
        return self

    @model_validator(mode="after")
    def _knows_its_schemas(self) -> Self:
        if self.format == "avro" and self.avro.registry_url is None and self.avro.schema_file is None:
            raise ValueError("format is avro: set avro.registry_url (or avro.schema_file, where no registry is)")
        protobuf = self.protobuf
        if self.format == "protobuf" and protobuf.registry_url is None and protobuf.descriptor_file is None:
            raise ValueError(
                "format is protobuf: set protobuf.registry_url (or protobuf.descriptor_file, where no registry is)"
            )
        return self

    @model_validator(mode="after")
    def _unnests_objects(self) -> Self:
        if self.unnest is not None and self.format not in ("json", "avro", "protobuf"):
            raise ValueError(
                f"unnest is for json, avro and protobuf, and format is {self.format}: remove one of the two"
            )
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
