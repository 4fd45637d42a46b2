"""The alert: the message that subscribers receive. One schema serves every kind of anomaly (law L7).

The JSON Schema and the AsyncAPI document are derived from these types. Times are ISO 8601 text in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SCHEMA_VERSION = 1


class Kind(StrEnum):
    """The kinds of anomaly that an episode can be of."""

    PATTERN = "pattern"
    """Values that the network did not expect."""
    SILENCE = "silence"
    """A stream that stopped, judged by its learned cadence."""
    STUCK = "stuck"
    """A value that stopped varying although it used to vary."""
    SCHEMA = "schema"
    """A field that vanished, or changed its type or scale."""


class Event(StrEnum):
    """The place of an alert within its episode."""

    OPEN = "open"
    UPDATE = "update"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Stream:
    key: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Episode:
    """The state of the episode. `start` and `last` are the times of the first and the latest anomalous event; `end` is
    set only by the alert that closes it."""

    start: str
    last: str
    end: str | None
    count: int
    peak_severity: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The alarm budget. `realised` is the number of pattern episodes that this stream opened per day, over about the last
    month; null until its events span a day."""

    alarms_per_day: float
    realised: float | None


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature's part in the score. In a pattern alert that names features, the shares of all features and both
    heads sum to 1; all are 0 in a close whose event deviates in no feature."""

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
    """How much of the stream has been seen: the phase is `warming` until `seen` reaches `needed`, then `calibrated`."""

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
    """The records that the episode is based on, as a range of offsets in one input partition; both ends are included."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class Times:
    """Event time and append time of the record that triggered the alert. `detected` and `published` are wall-clock
    times, set outside the pure detector."""

    event: str
    append: str | None
    detected: str | None = None
    published: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One message about an episode. The alerts that open, update and close an episode have the same `alert_id`."""

    schema_version: int
    alert_id: str
    event: Event
    kind: Kind
    reason: str
    """One sentence for a human reader."""
    stream: Stream
    episode: Episode
    severity: float
    """0 to 100. 50 is the alarm threshold; 100 is, for a p-value, twice as many decimal places as the threshold has, or
    more."""
    score: float | None
    p_value: float | None
    p_method: str
    """How the p-value was obtained: body, tail, extrapolated or duration."""
    threshold: float | None
    budget: Budget
    direction: str
    """up, down or none: the side of the expected value on which the leading feature's value is."""
    features: tuple[Feature, ...]
    phase: Phase
    model: ModelRef
    config_digest: str
    provenance: Provenance
    times: Times
