"""Every key of the configuration: its type, default, bounds and meaning. `configuration` reads them from outside.

The text under a key is its documentation: it goes into the generated JSON Schema and docs/configuration.md.
"""

from __future__ import annotations

from itertools import combinations
from os.path import realpath, samefile
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from anomaly_daemon.detection.observation import Direction
from anomaly_daemon.detection.rules import MOST_RELATED, Evidence, MuteRule
from anomaly_daemon.settings.avro import AvroSettings
from anomaly_daemon.settings.broker import KafkaSettings, SaslMechanism, SecurityProtocol
from anomaly_daemon.settings.detecting import (
    BudgetSettings,
    DetectionSettings,
    DurationSettings,
    EpisodeSettings,
    SchemaChangeSettings,
    SilenceSettings,
    StuckSettings,
)
from anomaly_daemon.settings.input import CsvSettings, NumericField, SourceSettings, StreamSettings, TimeUnit
from anomaly_daemon.settings.muting import MuteSettings, Weekday
from anomaly_daemon.settings.protobuf import ProtobufSettings
from anomaly_daemon.settings.registry import RegistrySettings
from anomaly_daemon.settings.retraining import RetrainingSettings
from anomaly_daemon.settings.section import Section
from anomaly_daemon.settings.service import (
    PRETRAINED,
    CommitSettings,
    HttpSettings,
    LimitSettings,
    LogSettings,
    ModelSettings,
    SinkSettings,
    SnapshotSettings,
)
from anomaly_daemon.settings.training import LearningRate, TrainingSettings

__all__ = [
    "PRETRAINED",
    "AvroSettings",
    "BudgetSettings",
    "CommitSettings",
    "CsvSettings",
    "DetectionSettings",
    "DurationSettings",
    "EpisodeSettings",
    "HttpSettings",
    "KafkaSettings",
    "LearningRate",
    "LimitSettings",
    "LogSettings",
    "ModelSettings",
    "MuteSettings",
    "NumericField",
    "ProtobufSettings",
    "RegistrySettings",
    "RetrainingSettings",
    "SaslMechanism",
    "SchemaChangeSettings",
    "Section",
    "SecurityProtocol",
    "Settings",
    "SilenceSettings",
    "SinkSettings",
    "SnapshotSettings",
    "SourceSettings",
    "StreamSettings",
    "StuckSettings",
    "TimeUnit",
    "TrainingSettings",
    "Weekday",
]


class Settings(Section, BaseSettings):
    """The whole configuration. Made in Python it is what it is told and the defaults, whatever the environment says."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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
    retraining: RetrainingSettings = RetrainingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @model_validator(mode="after")
    def _delivers_where_it_reads(self) -> Self:
        """Where no kind of sink is given, it is that of the source: one commit cannot hold both kinds."""
        if "kind" not in self.sink.model_fields_set and self.sink.kind != self.source.kind:
            self.__dict__["sink"] = self.sink.model_copy(update={"kind": self.source.kind})
        return self

    @model_validator(mode="after")
    def _judges_something(self) -> Self:
        if not set(self.detection.evidence) - (silent := self._silent_evidence()).keys():
            reasons = dict.fromkeys(silent[kind] for kind in self.detection.evidence)
            raise ValueError(
                f"detection.evidence: {', '.join(self.detection.evidence)} cannot judge these fields: "
                f"{'; '.join(reasons)}. Add other kinds"
            )
        return self

    def _silent_evidence(self) -> dict[Evidence, str]:
        """The kinds that never say anything of the fields there are, and why."""
        fields, silent = len(self.stream.numeric), dict[Evidence, str]()
        if not fields:
            numeric = set(Evidence) - {Evidence.POINT, Evidence.WINDOW, Evidence.BURST}
            silent |= dict.fromkeys(numeric, "without numeric fields only point, window and burst judge anything")
        if fields and all(field.direction is not Direction.BOTH for field in self.stream.numeric):
            why = "change, quiet and shape have no direction, and every field has its direction set to one side"
            silent |= dict.fromkeys((Evidence.CHANGE, Evidence.QUIET, Evidence.SHAPE), why)
        if not 2 <= fields <= MOST_RELATED:
            why = f"relation and joint judge two to {MOST_RELATED} numeric fields, stream.numeric has {fields}"
            silent |= dict.fromkeys((Evidence.RELATION, Evidence.JOINT), why)
        return silent

    @model_validator(mode="after")
    def _mutes_some_time(self) -> Self:
        """Where one bound has an offset and the other is of our time zone, only now it is known which is earlier."""
        self.mute_rules()
        return self

    def mute_rules(self) -> tuple[MuteRule, ...]:
        """The mute windows that the detector keeps to."""
        return tuple(window.rule(self.stream.timezone) for window in self.detection.mute)

    def mute_doubts(self) -> tuple[str, ...]:
        """Of windows as long as a stream is remembered. What it knows of time is what the detector forgets by."""
        days = self.limits.idle_stream_seconds / 86_400
        return tuple(
            f"{rule.name} covers {days:.3g} days or more (limits.idle_stream_seconds): a stream that sends "
            "nothing for so long is dropped, and no alert says that it does not come back. Shorten the window, "
            "or raise limits.idle_stream_seconds"
            for rule in self.mute_rules()
            if rule.longest_seconds() >= self.limits.idle_stream_seconds
        )

    @model_validator(mode="after")
    def _shares_no_topic(self) -> Self:
        """What is written must not be read as input: a dead letter would be a dead letter again, for ever. And of a
        compacted topic with keys of others, no state can be restored."""
        topics = {
            "source.topic": self.source.topic,
            "snapshot.topic": self.snapshot.topic,
            "sink.alerts_topic": self.sink.alerts_topic,
            "sink.dead_letter_topic": self.sink.dead_letter_topic,
        }
        for key, other in combinations(topics, 2) if self.source.kind == "kafka" else ():
            if topics[key] == topics[other] and not key.startswith("sink"):
                raise ValueError(f"{other} and {key} both name {topics[key]}: name another topic to write to")
        return self

    @model_validator(mode="after")
    def _writes_no_input_over(self) -> Self:
        """By whatever name: the next start cuts from what is written all that no commit names."""
        inputs = [path for path in self.source.paths if self.source.kind == "files" and path != "-"]
        for key in ("path", "dead_letter_path"):
            path = getattr(self.sink, key)
            if path is not None and (one := next((one for one in inputs if _same_file(path, one)), None)):
                same = "" if one == path else f" ({one})"
                raise ValueError(f"sink.{key} and source.paths both name {path}{same}: name another file to write to")
        return self


def _same_file(path: str, other: str) -> bool:
    """Whether both name one file, which need not exist: by its path, through a symbolic link, or by a hard link."""
    try:
        return realpath(path) == realpath(other) or samefile(path, other)
    except (OSError, ValueError):  # one of them does not exist
        return False
