"""The summary of a demo, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from anomaly_daemon.demo.faults import HOUR
from anomaly_daemon.demo.play import Played
from anomaly_daemon.report.summary import duration


def summary(played: Mapping[str, Played], first_alert_seconds: float | None) -> dict[str, Any]:
    """Return the last object of `--json`: all deployments together, and each separately under `deployments`."""
    together = list(played.values())
    events = sum(len(one.generated.records) for one in together)
    seconds = sum(one.seconds for one in together)
    return {
        "events": events,
        "streams": sum(one.outcome.streams for one in together),
        "events_per_second": round(events / seconds, 1) if seconds else None,
        "faults_injected": sum(len(one.outcome.matched.hits) for one in together),
        "faults_found": sum(one.outcome.matched.found for one in together),
        "false_alarms": sum(len(one.outcome.matched.false_alarms) for one in together),
        "alarm_budget": round(sum(one.outcome.alarm_budget for one in together), 3),
        "first_alert_seconds": first_alert_seconds,
        "median_delay_seconds": _median_delay(together),
        "unreadable": sum(one.rejected for one in together),
        "deployments": {name: _one(one) for name, one in played.items()},
    }


def _one(played: Played) -> dict[str, Any]:
    result = played.outcome
    return {
        "events": len(played.generated.records),
        "streams": result.streams,
        "days": result.days,
        "events_per_second": round(played.events_per_second, 1),
        "episodes": len(played.book.episodes),
        "faults": {kind: {"found": found, "injected": count} for kind, (found, count) in result.by_kind.items()},
        "false_alarms": len(result.matched.false_alarms),
        "alarm_budget": round(result.alarm_budget, 3),
        "median_delay_seconds": _median_delay([played]),
        "alarms_after_faults": len(result.matched.aftermath),
        "aftermath_seconds": played.generated.aftermath / 1e6,
    }


def _median_delay(played: Sequence[Played]) -> float | None:
    """Return the seconds of event time from a fault's start to its alarm: the median over the faults found, None where
    there are none."""
    delays = [hit.delay for one in played for hit in one.outcome.matched.hits if hit.delay is not None]
    return median(delays) / 1e6 if delays else None


def summary_text(played: Mapping[str, Played], first_alert_seconds: float | None) -> str:
    """Return the summary as text for people."""
    parts = [_one_text(name, one) for name, one in played.items()]
    whole = summary(played, first_alert_seconds)
    first = "no alert" if first_alert_seconds is None else f"first alert after {first_alert_seconds:.1f} s"
    parts.append(
        f"together: {whole['faults_found']} of {whole['faults_injected']} faults found, "
        f"{whole['false_alarms']} false alarms, {first} (from the start of the process)"
    )
    return "\n\n".join(parts)


def _one_text(name: str, played: Played) -> str:
    result, matched = played.outcome, played.outcome.matched
    delay = duration(_median_delay([played]))
    found, after = f"{matched.found} of {len(matched.hits)} injected", len(matched.aftermath)
    hours = played.generated.aftermath / HOUR
    lines = [
        f"{name}: {len(played.generated.records):,} records of {result.streams} streams over {result.days:g} days, "
        f"{played.events_per_second:,.0f} a second, {played.rejected} unreadable",
        f"  faults found             {found}, while they lasted; median delay {delay}",
        *(f"    {kind:<22} {hit} of {count}" for kind, (hit, count) in result.by_kind.items()),
        f"  alarms as a fault ended  {after}, up to {hours:g} h after it: neither found nor false",
        f"  false alarms             {len(matched.false_alarms)}; the budget of {result.alarms_per_day:g} a stream and "
        f"day allows {result.alarm_budget:,.0f}",
    ]
    return "\n".join(lines)
