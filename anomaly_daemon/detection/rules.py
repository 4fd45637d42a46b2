"""The operator's decisions about detection, as frozen values. `bootstrap` makes them from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import inf
from typing import Any, Self

DAY_SECONDS = 86_400.0
EVERY_DAY = tuple(range(7))
"""The days of the week, Monday first."""
EVERY_STREAM = "*"
"""The pattern that matches every stream's key."""
SHARED_EVENTS = 30.0
"""Number of its own events after which a stream is judged as much by them as by what all streams show."""
MOST_RELATED = 64
"""The most numeric fields between which relations are kept: state grows with the square of their number."""


class Evidence(StrEnum):
    """Names of the kinds of evidence; `signals.Signal` describes each."""

    POINT = "point"
    WINDOW = "window"
    CHANGE = "change"
    LEVEL = "level"
    DRIFT = "drift"
    SEASON = "season"
    QUIET = "quiet"
    AUTOREGRESSION = "autoregression"
    SHAPE = "shape"
    BURST = "burst"
    RELATION = "relation"
    JOINT = "joint"


@dataclass(frozen=True, slots=True)
class DurationRule:
    """When something has lasted too long. `minimum` counts typical intervals (silence) or events (stuck)."""

    enabled: bool = True
    minimum: int = 5
    longest_ratio: float = 2.0


@dataclass(frozen=True, slots=True)
class SilenceRule(DurationRule):
    """`short_lived`: shell patterns of the streams that end by themselves, and whose silence is not reported."""

    short_lived: tuple[str, ...] = ()

    def as_mapping(self) -> dict[str, Any]:
        """Return the rule as JSON has it. Without patterns the mapping equals that of a release that had none."""
        mapping = asdict(self) | {"short_lived": list(self.short_lived)}
        return (
            mapping if self.short_lived else {name: value for name, value in mapping.items() if name != "short_lived"}
        )

    @classmethod
    def of_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Raises TypeError for anything but the output of `as_mapping`."""
        return cls(**(dict(mapping) | {"short_lived": tuple(mapping.get("short_lived", ()))}))


@dataclass(frozen=True, slots=True)
class SchemaRule:
    """When a field has changed: after `minimum` records in a row without it or with a wrong type, or `scale_minimum` in
    a row at `scale_ratio` times its usual magnitude."""

    enabled: bool = True
    minimum: int = 5
    scale_ratio: float = 10.0
    scale_minimum: int = 20


@dataclass(frozen=True, slots=True)
class EpisodeRule:
    """When an episode closes, is reported again, and is accepted as the new normal."""

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
class MuteRule:
    """When streams are not judged: once, from `start` to `end`, or on each of these days of the week from `begin` to
    `until`, within those bounds. Every interval includes its beginning and excludes its end."""

    name: str
    start: int | None = None
    """Epoch microseconds, as is `end`."""
    end: int | None = None
    begin: int | None = None
    """Seconds of the local day, as is `until`. If `until` is not later than `begin`, it is on the next day."""
    until: int | None = None
    weekdays: tuple[int, ...] = EVERY_DAY
    streams: tuple[str, ...] = (EVERY_STREAM,)
    """Shell patterns of stream keys."""
    learn: bool = False
    """Whether events are scored and learned all the same, and only their alarms are withheld."""

    def __post_init__(self) -> None:
        if (self.begin is None) != (self.until is None):
            raise ValueError(f"{self.name}: needs both a time of day at which it begins and one at which it ends")
        if self.begin is None and (self.start is None or self.end is None):
            raise ValueError(f"{self.name}: needs start and end, or times of day, or days of the week")
        if self.begin is not None and self.begin == self.until:
            raise ValueError(f"{self.name}: begins and ends at the same time of day")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"{self.name}: its end is not after its start")

    def longest_seconds(self) -> float:
        """Return the length of the longest interval that the rule covers. Consecutive days of 24 hours count as one
        interval."""
        bounds = inf if self.start is None or self.end is None else (self.end - self.start) / 1e6
        if self.begin is None or self.until is None:
            return bounds
        if (self.until - self.begin) % DAY_SECONDS or set(self.weekdays) == set(EVERY_DAY):
            return min((self.until - self.begin) % DAY_SECONDS or bounds, bounds)
        week = "".join("x" if day % 7 in self.weekdays else " " for day in range(14))
        return min(max(map(len, week.split())) * DAY_SECONDS, bounds)

    def as_mapping(self) -> dict[str, Any]:
        """Return the rule as JSON has it; `of_mapping` is the inverse."""
        return asdict(self) | {"weekdays": list(self.weekdays), "streams": list(self.streams)}

    @classmethod
    def of_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Raises TypeError or ValueError for anything but the output of `as_mapping`."""
        lists = {name: tuple(mapping[name]) for name in ("weekdays", "streams") if name in mapping}
        return cls(**(dict(mapping) | lists))


@dataclass(frozen=True, slots=True)
class Rules:
    """All decisions about one deployment's detector."""

    alarms_per_day: float = 1.0
    prediction_weight: float = 0.5
    grace_events: int = 50
    adaptation_events: float = 2000.0
    window_events: int = 24
    shared_events: float = SHARED_EVENTS
    evidence: tuple[Evidence, ...] = tuple(Evidence)
    """The kinds of evidence that count."""
    accept_late: bool = False
    """Whether a record older than its stream's newest is scored as if it came just now, instead of being skipped."""
    max_streams: int = 1_000_000
    idle_stream_seconds: float = 7 * DAY_SECONDS
    episode: EpisodeRule = EpisodeRule()
    silence: SilenceRule = SilenceRule(minimum=5)
    stuck: DurationRule = DurationRule(minimum=10)
    schema_change: SchemaRule = SchemaRule()
    mute: tuple[MuteRule, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.prediction_weight <= 1.0:
            raise ValueError("prediction_weight must be between 0 and 1")
        if self.alarms_per_day <= 0:
            raise ValueError("alarms_per_day must be above 0")
        if not self.evidence:
            raise ValueError("evidence must name at least one kind")

    def as_mapping(self) -> dict[str, Any]:
        """Return the rules as JSON has them; `of_mapping` is the inverse. Without mute windows the mapping is the same
        as that of a release that had none, so an upgrade from that release, or a return to it, is no change of rules.
        """
        mapping = asdict(self) | {"evidence": [str(kind) for kind in self.evidence]}
        mapping["silence"] = self.silence.as_mapping()
        mapping["mute"] = [rule.as_mapping() for rule in self.mute]
        return mapping if self.mute else {name: value for name, value in mapping.items() if name != "mute"}

    @classmethod
    def of_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Raises TypeError or ValueError for anything but the output of `as_mapping`."""
        kinds = tuple(Evidence(name) for name in mapping.get("evidence", Evidence))
        nested = {"episode": EpisodeRule, "stuck": DurationRule, "schema_change": SchemaRule}
        made = {name: nested[name](**value) if name in nested else value for name, value in mapping.items()}
        if "silence" in mapping:
            made["silence"] = SilenceRule.of_mapping(mapping["silence"])
        mute = tuple(MuteRule.of_mapping(rule) for rule in mapping.get("mute", ()))
        return cls(**(made | {"evidence": kinds, "mute": mute}))
