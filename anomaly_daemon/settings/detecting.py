"""Keys of `detection`: what the operator decides about alarms."""

from __future__ import annotations

from pydantic import Field, field_validator

from anomaly_daemon.detection.rules import SHARED_EVENTS, Evidence
from anomaly_daemon.settings.muting import MuteSettings
from anomaly_daemon.settings.section import Section


class BudgetSettings(Section):
    alarms_per_stream_per_day: float = Field(1.0, gt=0)
    """Pattern alarms a stream may open per day of event time; thresholds are learned to stay within it."""


class EpisodeSettings(Section):
    close_after: int = Field(5, ge=1)
    """Calm events in a row that close an episode."""
    close_ratio: float = Field(10.0, ge=1)
    """An event is calm when its p-value is this many times the threshold: the hysteresis."""
    close_surprise: float = Field(3.0, ge=1)
    """No close while the average surprise, -log p, is above this (over 4 windows; 1 by chance). 5: no such condition."""
    magnitude_floor: float = Field(0.5, ge=0)
    """No alarm for a deviation smaller than this many of the feature's own standard deviations."""
    renotify_seconds: float = Field(3600.0, gt=0)
    """Event time between updates of an open episode."""
    accept_seconds: float = Field(86_400.0, gt=0)
    """Alarms that go on for longer close as "new level accepted", and are not reported again while they last."""


class DurationSettings(Section):
    """A kind of anomaly told by how long something lasts, against what this stream has shown."""

    enabled: bool = True
    """Whether this kind of anomaly is looked for."""
    minimum: int = Field(ge=2)
    """Never fewer than this many typical intervals, or events."""
    longest_ratio: float = Field(2.0, ge=1)
    """Nor less than this times the longest seen so far."""


class SilenceSettings(DurationSettings):
    """A stream that stopped, by its own cadence."""

    minimum: int = Field(5, ge=2)
    """No alarm before this many typical intervals have passed."""
    short_lived: list[str] = []
    """Shell patterns of streams that end by themselves (pods, jobs), such as ["web-*"]: that they stop is told nobody."""


class StuckSettings(DurationSettings):
    """A value that stopped varying where it used to."""

    minimum: int = Field(10, ge=2)
    """No alarm before this many equal values in a row."""


class SchemaChangeSettings(Section):
    enabled: bool = True
    """Whether this kind of anomaly is looked for."""
    minimum: int = Field(5, ge=2)
    """Records in a row without the field, or of the wrong type."""
    scale_ratio: float = Field(10.0, gt=1)
    """A typical magnitude this many times larger or smaller is a change of scale (of unit)."""
    scale_minimum: int = Field(20, ge=2)
    """Records in a row at the other scale."""


class DetectionSettings(Section):
    budget: BudgetSettings = BudgetSettings()
    prediction_weight: float = Field(0.5, ge=0, le=1)
    """The prediction error's share of the combined score; the rest is the reconstruction error's."""
    grace_events: int = Field(50, ge=10)
    """Events of a stream before it may raise a pattern alarm: its calibration warms up."""
    adaptation_events: float = Field(2000.0, ge=100, le=100_000)
    """The memory, in events, of a stream's normaliser. Its usual level and its calibration remember 10 times as many."""
    window_events: int = Field(24, ge=1)
    """Events that evidence is averaged over; a drift takes 4 times as many, quiet half, a season a quarter."""
    shared_events: float = Field(SHARED_EVENTS, ge=1, le=1e12, allow_inf_nan=False)
    """The weight of the model's shared calibration in a new stream, in events of the stream's own."""
    evidence: list[Evidence] = Field(list(Evidence), min_length=1)
    """The kinds that count, see docs/detection.md. [point, burst] judges each event by itself, as for card payments."""
    episode: EpisodeSettings = EpisodeSettings()
    silence: SilenceSettings = SilenceSettings()
    stuck: StuckSettings = StuckSettings()
    schema_change: SchemaChangeSettings = SchemaChangeSettings()
    mute: list[MuteSettings] = []
    """Windows without alerts, by default without learning too: maintenance, holidays. See "Mute windows" above."""

    @field_validator("mute")
    @classmethod
    def _told_apart(cls, value: list[MuteSettings]) -> list[MuteSettings]:
        names = [window.name for window in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"windows named twice: {', '.join(twice)}")
        return value
