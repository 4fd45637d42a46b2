"""The configuration: the only reader of the YAML file, the environment and `--set`.

Precedence, highest first: `--set section.key=value`, environment `ANOMALY_DAEMON__SECTION__KEY`, the YAML file, the
default here. Every key is strict: an unknown one is an error that names the nearest right one. A secret may come from
a file through its `..._file` twin, and is masked wherever the configuration is printed.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from anomaly_daemon.detection.observation import Numeric, Schema, Transform

PRETRAINED = "pretrained"
"""The model path that means the network shipped in the package."""


class Section(BaseModel):
    """Strict and frozen: a configuration is read once and never changes under a running daemon."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecurityProtocol(StrEnum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


class KafkaSettings(Section):
    """The broker, and how to be let in. Key names are those of Kafka's own client configuration."""

    bootstrap_servers: str = "localhost:9092"
    client_id: str = "anomaly-daemon"
    group_id: str = "anomaly-daemon"
    group_instance_id: str | None = None
    """Static membership: stable per instance (a StatefulSet's pod name), so a restart does not rebalance."""
    transactional_id: str | None = None
    """Stable per instance; by default derived from the group and the instance id."""
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_password: SecretStr | None = None
    ssl_password_file: Path | None = None
    ssl_check_hostname: bool = True
    sasl_mechanism: SaslMechanism | None = None
    sasl_plain_username: str | None = None
    sasl_plain_password: SecretStr | None = None
    sasl_plain_password_file: Path | None = None
    sasl_oauth_token_endpoint_url: str | None = None
    """Where the client-credentials grant of OAUTHBEARER is asked for."""
    sasl_oauth_client_id: str | None = None
    sasl_oauth_client_secret: SecretStr | None = None
    sasl_oauth_client_secret_file: Path | None = None
    sasl_oauth_scope: str | None = None
    sasl_oauth_token_file: Path | None = None
    """A file that something else keeps a fresh token in (Kubernetes projected tokens, a sidecar)."""
    session_timeout_seconds: float = Field(45.0, gt=0)
    max_poll_interval_seconds: float = Field(300.0, gt=0)
    transaction_timeout_seconds: float = Field(15.0, gt=0)
    bootstrap_timeout_seconds: float = Field(30.0, gt=0)
    max_poll_records: int = Field(10_000, gt=0)

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> Self:
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism is None:
            raise ValueError(f"security_protocol {self.security_protocol} needs kafka.sasl_mechanism")
        if self.sasl_mechanism is not None and not self.security_protocol.startswith("SASL"):
            raise ValueError("sasl_mechanism is set: set kafka.security_protocol to SASL_SSL or SASL_PLAINTEXT")
        needs_password = self.sasl_mechanism not in (None, SaslMechanism.OAUTHBEARER)
        if needs_password and not (self.sasl_plain_username and (self.sasl_plain_password or self.sasl_plain_password_file)):
            raise ValueError(
                f"{self.sasl_mechanism} needs kafka.sasl_plain_username and kafka.sasl_plain_password (or ..._file)"
            )
        oauth_ready = self.sasl_oauth_token_file or self.sasl_oauth_token_endpoint_url
        if self.sasl_mechanism is SaslMechanism.OAUTHBEARER and not oauth_ready:
            raise ValueError("OAUTHBEARER needs kafka.sasl_oauth_token_endpoint_url or kafka.sasl_oauth_token_file")
        return self


class SourceSettings(Section):
    kind: Literal["kafka", "files"] = "kafka"
    topic: str | None = None
    """The Kafka topic to read."""
    paths: list[str] = []
    """The files to read, in order, each one partition; "-" is standard input."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin when the group has committed nothing yet."""
    poll_seconds: float = Field(0.2, gt=0)

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
    """Where it stands in the record, by default `name`; dots reach into nested objects. In the long shape: the metric's name."""
    transform: Transform = Transform.NONE


class TimeUnit(StrEnum):
    AUTO = "auto"
    """ISO 8601 text, or an epoch number whose unit is told by its magnitude."""
    ISO = "iso"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


class CsvSettings(Section):
    delimiter: str = Field(",", min_length=1, max_length=1)
    columns: list[str] | None = None
    """The column names. Needed for Kafka values; a file's first line names them when this is not set."""


class StreamSettings(Section):
    """How a record becomes observations: format, shape, stream key, time and features."""

    format: Literal["json", "csv", "packed"] = "json"
    shape: Literal["wide", "long"] = "wide"
    """wide: one record holds every feature. long: one record holds one metric's value."""
    key: list[str] = []
    """The fields that name the stream, joined by "/"; empty: the Kafka key."""
    time: str | None = None
    """The field of the event time; none: the record's own timestamp."""
    time_unit: TimeUnit = TimeUnit.AUTO
    timezone: str = "UTC"
    """IANA zone of the calendar features, and of ISO times without an offset."""
    numeric: list[NumericField] = []
    categorical: list[str] = []
    labels: dict[str, str] = {}
    """Labels copied into every alert."""
    metric: str = "metric"
    """Long shape: the field that names the metric."""
    value: str = "value"
    """Long shape: the field that holds the value."""
    csv: CsvSettings = CsvSettings()
    late: Literal["skip", "dead_letter", "accept"] = "skip"
    """A record older than its stream's newest: skip and count, dead-letter it, or accept it as if it came just now."""
    magnitude_limit: float = Field(1e30, gt=0)
    """A larger magnitude counts as not finite."""
    ahead_limit_seconds: float = Field(86_400.0, gt=0)
    """An event time further than this past the record's append time is dead-lettered: it would age every stream."""

    @field_validator("numeric", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        return [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from error
        return value

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

    def schema_(self) -> Schema:
        """The schema the detector sees."""
        numeric = tuple(Numeric(feature.name, feature.transform) for feature in self.numeric)
        return Schema(numeric, tuple(self.categorical), self.timezone)


class ModelSettings(Section):
    path: str = PRETRAINED
    """A model artifact folder written by `train`, or "pretrained": the network shipped in the package."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    threads: int = Field(1, ge=1)
    """Torch threads. Bit-identical replay holds for 1."""


class BudgetSettings(Section):
    alarms_per_stream_per_day: float = Field(1.0, gt=0)


class EpisodeSettings(Section):
    close_after: int = Field(5, ge=1)
    """Calm events in a row that close an episode."""
    close_ratio: float = Field(10.0, ge=1)
    """An event is calm when its p-value is this many times the threshold: the hysteresis."""
    magnitude_floor: float = Field(0.5, ge=0)
    """No alarm for a deviation smaller than this many of the feature's own standard deviations."""
    renotify_seconds: float = Field(3600.0, gt=0)
    """Event time between updates of an open episode."""
    accept_seconds: float = Field(86_400.0, gt=0)
    """An episode open for longer closes as "new level accepted"."""


class DurationSettings(Section):
    """A kind of anomaly told by how long something lasts, against what this stream has shown."""

    enabled: bool = True
    minimum: int = Field(ge=2)
    """Never fewer than this many typical intervals, or events."""
    longest_ratio: float = Field(2.0, ge=1)
    """Nor less than this times the longest seen so far."""


class SchemaChangeSettings(Section):
    enabled: bool = True
    minimum: int = Field(5, ge=2)
    """Records in a row without the field, of the wrong type, or at the wrong scale."""
    scale_ratio: float = Field(10.0, gt=1)
    """A typical magnitude this many times larger or smaller is a change of scale (of unit)."""


class DetectionSettings(Section):
    budget: BudgetSettings = BudgetSettings()
    prediction_weight: float = Field(0.5, ge=0, le=1)
    """The prediction error's share of the combined score; the rest is the reconstruction error's."""
    grace_events: int = Field(50, ge=10)
    """Events of a stream before it may raise a pattern alarm: its calibration warms up."""
    adaptation_events: float = Field(2000.0, ge=100)
    """The memory, in events, of a stream's normaliser and calibration."""
    window_events: int = Field(12, ge=2)
    """The memory, in events, of the slow evidence: level shifts and drifts."""
    episode: EpisodeSettings = EpisodeSettings()
    silence: DurationSettings = DurationSettings(minimum=5)
    stuck: DurationSettings = DurationSettings(minimum=10)
    schema_change: SchemaChangeSettings = SchemaChangeSettings()


class SinkSettings(Section):
    kind: Literal["kafka", "files"] = "kafka"
    alerts_topic: str = "anomaly-alerts"
    dead_letter_topic: str = "anomaly-dead-letters"
    path: str = "-"
    """Alerts as JSON lines; "-" is standard output."""
    dead_letter_path: str | None = None
    """Dead letters as JSON lines with the original bytes in base64; none: counted and logged only."""
    create_topics: bool = False
    """Create missing alert, dead-letter and snapshot topics at start."""
    replication_factor: int = Field(-1, ge=-1)
    """For created topics; -1 is the broker's default."""


class SnapshotSettings(Section):
    seconds: float = Field(60.0, ge=0)
    """Every stream's state is written at least this often. A longer period means a longer replay after a crash."""
    buckets: int = Field(64, ge=1, le=4096)
    """Streams are written in this many groups, in turn."""
    topic: str = "anomaly-snapshots"
    """Kafka: a compacted topic with the input topic's number of partitions."""
    path: Path | None = None
    """Files: a folder; none: no snapshots, every run starts anew."""


class CommitSettings(Section):
    seconds: float = Field(0.5, gt=0)
    events: int = Field(20_000, gt=0)


class LimitSettings(Section):
    """Law L11: everything that could grow has a bound."""

    streams: int = Field(1_000_000, gt=0)
    """Streams in memory, per partition. Past it the longest-unseen stream is evicted, counted."""
    idle_stream_seconds: float = Field(604_800.0, gt=0)
    """Event time after which an unseen stream is evicted."""
    alerts_per_minute: int = Field(600, gt=0)
    """Opened alerts, per daemon; past it one digest a minute says how many were held back."""
    dead_letters_per_minute: int = Field(10_000, gt=0)
    alert_bytes: int = Field(900_000, gt=1000)
    record_bytes: int = Field(10_000_000, gt=0)
    readings_per_record: int = Field(100_000, gt=0)
    retry_seconds: float = Field(120.0, gt=0)
    """How long an unavailable broker is waited for before the daemon ends with code 69."""
    stop_seconds: float = Field(20.0, gt=0)
    """The deadline of a clean stop."""


class HttpSettings(Section):
    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    """0: any free port, written to the log."""
    stalled_seconds: float = Field(60.0, gt=0)
    """/live fails when the loop has not turned for this long."""


class LogSettings(Section):
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON elsewhere."""
    level: Literal["debug", "info", "warning", "error"] = "info"


LearningRate = Annotated[float, Field(ge=1e-4, le=1e-2)]


class TrainingSettings(Section):
    """What `train` builds and how. Shapes and ranges follow the literature on recurrent forecasters."""

    layout: Literal["joint", "channel"] = "joint"
    """joint: one state per stream sees every feature together. channel: one state per feature, the same weights for all."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    layers: int = Field(1, ge=1, le=3)
    hidden: int = Field(64, ge=50, le=200)
    head: list[int] = [64]
    """Widths of the dense layers between state and heads."""
    embedding: int = Field(8, ge=1, le=64)
    reconstruct: int = Field(8, ge=1, le=64)
    """Events rebuilt from the state alone."""
    normalizer: Literal["standard", "robust", "minmax"] = "standard"
    initialization: Literal["glorot", "he", "orthogonal"] = "orthogonal"
    dropout: float = Field(0.0, ge=0, le=0.5)
    """0 is off; 0.2 to 0.5 is the usual range."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: LearningRate = 1e-3
    batch_size: Literal[32, 64, 128] = 64
    window: int = Field(128, ge=16, le=4096)
    """Events per training sequence, and the span of truncated back-propagation through time."""
    stride: int | None = None
    """Events between the starts of two sequences; none: half a window."""
    epochs: int = Field(20, ge=1)
    patience: int = Field(4, ge=1)
    """Epochs without a better validation loss before training stops."""
    clip_norm: float = Field(5.0, gt=0)
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    test_share: float = Field(0.15, gt=0, lt=0.5)
    reconstruction_loss_weight: float = Field(0.5, ge=0)
    seed: int = 0


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="ANOMALY_DAEMON__", env_nested_delimiter="__", nested_model_default_partial_update=True
    )

    name: str = "anomaly-daemon"
    """Names this deployment in alerts and logs."""
    kafka: KafkaSettings = KafkaSettings()
    source: SourceSettings
    stream: StreamSettings
    model: ModelSettings = ModelSettings()
    detection: DetectionSettings = DetectionSettings()
    sink: SinkSettings = SinkSettings()
    snapshot: SnapshotSettings = SnapshotSettings()
    commit: CommitSettings = CommitSettings()
    limits: LimitSettings = LimitSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    training: TrainingSettings = TrainingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over what `load` passes in (the file, with `--set` laid over the environment by `load`)."""
        return env_settings, init_settings
