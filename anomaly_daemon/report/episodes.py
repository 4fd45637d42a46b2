"""Reassembles episodes from alerts: what opened, when, on which feature, and when it ended. Times are epoch
microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from anomaly_daemon.detection.alert import Alert, Event, Feature
from anomaly_daemon.detection.episode import Reason

GONE = (Reason.ENDED.value, Reason.EVICTED.value)
"""How the reasons of closes begin that no record of the stream caused."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One episode as a subscriber of the alert topic sees it."""

    alert_id: str
    stream: str
    kind: str
    opened: int
    """Event time of the record that raised the alarm. Delays are measured up to this time."""
    start: int
    """Event time of the first anomalous record; never after `opened`."""
    end: int | None
    """None while the episode is open."""
    severity: float
    """The highest severity so far."""
    count: int
    reason: str
    feature: Feature | None
    """The feature with the largest share in the score at the opening."""
    last: int
    """Event time of its latest record so far, never before `start`: the latest anomalous one, or the one that closed
    it. `end` is later where the stream ended, because it was waited for."""


def micros(text: str) -> int:
    """Return an ISO 8601 text as epoch microseconds. Without an offset it is UTC. Raises ValueError when it is not such
    a text."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def iso(time: int) -> str:
    """Return epoch microseconds as ISO 8601 text in UTC, to the second."""
    return datetime.fromtimestamp(time // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def leading(features: Iterable[Feature]) -> Feature | None:
    """Return the feature with the largest share in the score; None where there is none."""
    return max(features, key=lambda feature: feature.prediction_share + feature.reconstruction_share, default=None)


class EpisodeBook:
    """Every episode of a run, in the order in which they opened."""

    def __init__(self) -> None:
        self._by_id: dict[str, Seen] = {}

    def add(self, alert: Alert) -> Seen:
        """Add one alert and return its episode as it is now. An update whose opening was not seen opens the episode."""
        known = self._by_id.get(alert.alert_id) or _opened(alert)
        end = micros(alert.episode.end) if alert.event is Event.CLOSE and alert.episode.end else None
        severity = max(known.severity, alert.severity, alert.episode.peak_severity)
        seen = replace(known, end=end, severity=severity, count=alert.episode.count, last=_last(alert, end))
        self._by_id[alert.alert_id] = seen
        return seen

    @property
    def episodes(self) -> tuple[Seen, ...]:
        return tuple(self._by_id.values())


def _opened(alert: Alert) -> Seen:
    """Return the episode of its first alert that was given. The event of a close may be later than all of its events."""
    start, last, event = (micros(at) for at in (alert.episode.start, alert.episode.last, alert.times.event))
    return Seen(
        alert_id=alert.alert_id,
        stream=alert.stream.key,
        kind=str(alert.kind),
        opened=min(event, max(start, last)) if alert.event is Event.CLOSE else event,
        start=start,
        end=None,
        severity=alert.severity,
        count=alert.episode.count,
        reason=alert.reason,
        feature=leading(alert.features),
        last=last,
    )


def _last(alert: Alert, end: int | None) -> int:
    return micros(alert.episode.last) if end is None or alert.reason.startswith(GONE) else end
