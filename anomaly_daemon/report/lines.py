"""Episodes as lines for a person: one when it opens, one when it closes. Pure."""

from __future__ import annotations

from typing import Any

from anomaly_daemon.detection.alert import Alert, Event
from anomaly_daemon.report.episodes import leading, micros
from anomaly_daemon.report.summary import duration


def line(alert: Alert) -> str | None:
    """Return an alert as a line, such as `02-03 06:15  open  press-31  pattern  severity 78  temperature is 81.2,
    expected 63.1 (58 to 68), unusual over the last events`; None for an update."""
    when = alert.times.event[5:16].replace("T", " ")
    head = f"{when}  {alert.event:<5}  {alert.stream.key:<10}  {alert.kind:<7}"
    if alert.event is Event.OPEN:
        return f"{head}  severity {alert.severity:>3.0f}  {alert.reason}"
    if alert.event is Event.CLOSE:
        lasted = micros(alert.episode.end or alert.times.event) - micros(alert.episode.start)
        peak = max(alert.severity, alert.episode.peak_severity)
        return f"{head}  peak     {peak:>3.0f}  {_count(alert.episode.count)} in {duration(lasted / 1e6)}"
    return None


def alert_json(alert: Alert) -> dict[str, Any]:
    """Return one alert as a flat object, for a script that follows a run."""
    feature = leading(alert.features)
    return {
        "event": str(alert.event),
        "stream": alert.stream.key,
        "kind": str(alert.kind),
        "severity": alert.severity,
        "time": alert.times.event,
        "start": alert.episode.start,
        "end": alert.episode.end,
        "feature": None if feature is None else feature.name,
        "actual": None if feature is None else feature.actual,
        "expected": None if feature is None else feature.expected,
        "reason": alert.reason,
        "alert_id": alert.alert_id,
    }


def _count(events: int) -> str:
    return f"{events} event" if events == 1 else f"{events} events"
