"""What the operator decides about detection, as frozen values. `bootstrap` makes them from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

DAY_SECONDS = 86_400.0
SHARED_EVENTS = 30.0
"""Events of its own that a stream must show to be judged by them as much as by what all streams show."""
MOST_RELATED = 64
"""Of more numeric fields than this no relation is kept: state grows by the square of them."""


class Evidence(StrEnum):
    """The kinds of evidence, by name; `signals.Signal` says what each is."""

    POINT = "point"
    WINDOW = "window"
    CHANGE = "change"
    LEVEL = "level"
    DRIFT = "drift"
    SEASON = "season"
    RELATION = "relation"


@dataclass(frozen=True, slots=True)
class DurationRule:
    """When something has lasted too long. `minimum` counts typical intervals (silence) or events (stuck)."""

    enabled: bool = True
    minimum: int = 5
    longest_ratio: float = 2.0


@dataclass(frozen=True, slots=True)
class SchemaRule:
    """When a field has changed: `minimum` records in a row without it or of a wrong type, or `scale_minimum` in a row at
    `scale_ratio` times its usual magnitude."""

    enabled: bool = True
    minimum: int = 5
    scale_ratio: float = 10.0
    scale_minimum: int = 20


@dataclass(frozen=True, slots=True)
class EpisodeRule:
    """When an episode closes, is told of again, and is taken for the new normal."""

    close_after: int = 5
    close_ratio: float = 10.0
    close_surprise: float = 3.0
    magnitude_floor: float = 0.5
    renotify_seconds: float = 3600.0
    accept_seconds: float = 86_400.0

    def __post_init__(self) -> None:
        if self.close_after < 1 or self.close_ratio < 1:
            raise ValueError("an episode needs hysteresis: close_after and close_ratio are at least 1")


@dataclass(frozen=True, slots=True)
class Rules:
    """Every decision of one deployment's detector."""

    alarms_per_day: float = 1.0
    prediction_weight: float = 0.5
    grace_events: int = 50
    adaptation_events: float = 2000.0
    window_events: int = 24
    shared_events: float = SHARED_EVENTS
    evidence: tuple[Evidence, ...] = tuple(Evidence)
    """The kinds that count."""
    accept_late: bool = False
    """Score a record older than its stream's newest as if it came just now, instead of leaving it out."""
    max_streams: int = 1_000_000
    idle_stream_seconds: float = 7 * DAY_SECONDS
    episode: EpisodeRule = EpisodeRule()
    silence: DurationRule = DurationRule(minimum=5)
    stuck: DurationRule = DurationRule(minimum=10)
    schema_change: SchemaRule = SchemaRule()

    def __post_init__(self) -> None:
        if not 0.0 <= self.prediction_weight <= 1.0:
            raise ValueError("prediction_weight is a share, between 0 and 1")
        if self.alarms_per_day <= 0:
            raise ValueError("alarms_per_day is above 0")
        if not self.evidence:
            raise ValueError("evidence names one kind at least")

    def as_mapping(self) -> dict[str, Any]:
        """As JSON has it; `of_mapping` gives it back."""
        return asdict(self) | {"evidence": [str(kind) for kind in self.evidence]}

    @classmethod
    def of_mapping(cls, told: Mapping[str, Any]) -> Self:
        """Raises TypeError or ValueError for anything but what `as_mapping` gave."""
        kinds = tuple(Evidence(name) for name in told.get("evidence", Evidence))
        nested = {"episode": EpisodeRule, "silence": DurationRule, "stuck": DurationRule, "schema_change": SchemaRule}
        made = {name: nested[name](**value) if name in nested else value for name, value in told.items()}
        return cls(**(made | {"evidence": kinds}))
