"""The alert: what subscribers see. One schema for every kind of anomaly (law L7).

These types are the source of the JSON Schema and the AsyncAPI document; times are ISO 8601 text in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SCHEMA_VERSION = 1


class Kind(StrEnum):
    """What sort of anomaly an episode is."""

    PATTERN = "pattern"
    """Values the network did not expect."""
    SILENCE = "silence"
    """A stream that stopped, by its learned cadence."""
    STUCK = "stuck"
    """A value that stopped varying where it used to."""
    SCHEMA = "schema"
    """A field that vanished or changed type or scale."""


class Event(StrEnum):
    """Where in its episode an alert stands."""

    OPEN = "open"
    UPDATE = "update"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Stream:
    key: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Episode:
    """`start` and `last` are the first and the latest anomalous event; `end` is set by the close."""

    start: str
    last: str
    end: str | None
    count: int
    peak_severity: float


@dataclass(frozen=True, slots=True)
class Budget:
    """`realised` is the stream's own rate of opened episodes per day; null before a day's worth of events is known."""

    alarms_per_day: float
    realised: float | None


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature's part in the score. Shares over all features and both heads sum to 1 (pattern alerts that name any)."""

    name: str
    actual: float | str | None
    expected: float | str | None
    lower: float | None
    upper: float | None
    prediction_share: float
    reconstruction_share: float
    imputed: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """How much of the stream is known: `warming` until `seen` reaches `needed`, then `calibrated`."""

    name: str
    seen: int
    needed: int


@dataclass(frozen=True, slots=True)
class ModelRef:
    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """The records the episode stands on, as offsets of one input partition, both included."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class Times:
    """Event time and append time of the triggering record; `detected` and `published` are the shell's wall clock."""

    event: str
    append: str | None
    detected: str | None = None
    published: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One message of an episode. Open, updates and close of an episode share `alert_id`."""

    schema_version: int
    alert_id: str
    event: Event
    kind: Kind
    reason: str
    """One sentence for a person."""
    stream: Stream
    episode: Episode
    severity: float
    """0 to 100; 50 is the alarm threshold, 100 is twice as many decimal places beyond it."""
    score: float | None
    p_value: float | None
    p_method: str
    """How the p-value was obtained: body, tail, extrapolated or duration."""
    threshold: float | None
    budget: Budget
    direction: str
    """up, down or none: where the leading feature went, against what was expected."""
    features: tuple[Feature, ...]
    phase: Phase
    model: ModelRef
    config_digest: str
    provenance: Provenance
    times: Times
