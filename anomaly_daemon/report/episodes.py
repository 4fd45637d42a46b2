"""Alerts back into episodes: what opened, when, on which feature, and when it ended. Times are epoch microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from anomaly_daemon.detection.alert import Alert, Event, Feature


@dataclass(frozen=True, slots=True)
class Seen:
    """One episode as a subscriber of the alert topic sees it."""

    alert_id: str
    stream: str
    kind: str
    opened: int
    """Event time of the record that raised the alarm: what a delay is measured to."""
    start: int
    """Event time of the first anomalous record; never after `opened`."""
    end: int | None
    """None while it is open."""
    severity: float
    """The highest so far."""
    count: int
    reason: str
    feature: Feature | None
    """The one with the largest share at the opening."""


def micros(text: str) -> int:
    """Epoch microseconds of an ISO 8601 text; without an offset it is UTC. ValueError when it is none."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def iso(time: int) -> str:
    """ISO 8601 text in UTC, to the second, of epoch microseconds."""
    return datetime.fromtimestamp(time // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def leading(features: Iterable[Feature]) -> Feature | None:
    """The feature with the largest share in the score."""
    return max(features, key=lambda feature: feature.prediction_share + feature.reconstruction_share, default=None)


class EpisodeBook:
    """Every episode of a run, in the order they opened."""

    def __init__(self) -> None:
        self._by_id: dict[str, Seen] = {}

    def add(self, alert: Alert) -> Seen:
        """Note one alert; returns its episode as it stands now. An update whose opening was not seen opens it."""
        known = self._by_id.get(alert.alert_id) or _opened(alert)
        end = micros(alert.episode.end) if alert.event is Event.CLOSE and alert.episode.end else None
        severity = max(known.severity, alert.severity, alert.episode.peak_severity)
        seen = replace(known, end=end, severity=severity, count=alert.episode.count)
        self._by_id[alert.alert_id] = seen
        return seen

    @property
    def episodes(self) -> tuple[Seen, ...]:
        return tuple(self._by_id.values())


def _opened(alert: Alert) -> Seen:
    return Seen(
        alert_id=alert.alert_id,
        stream=alert.stream.key,
        kind=str(alert.kind),
        opened=micros(alert.times.event),
        start=micros(alert.episode.start),
        end=None,
        severity=alert.severity,
        count=alert.episode.count,
        reason=alert.reason,
        feature=leading(alert.features),
    )
