"""The result of a backtest as values, for the console, for scripts and for the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anomaly_daemon.detection.alert import Kind, ModelRef
from anomaly_daemon.report.episodes import Seen, iso
from anomaly_daemon.report.matching import Matched, Window
from anomaly_daemon.report.tally import Tally
from anomaly_daemon.report.unscored import crowded, mostly_unscored
from anomaly_daemon.transport.legible import Legible, backwards


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one backtest."""

    name: str
    model: ModelRef
    tally: Tally
    rejected: int
    """Records that could not be read."""
    episodes: tuple[Seen, ...]
    alarms_per_day: float
    """The budget: pattern alarms per stream and day."""
    matched: Matched[Window] | None
    """Which labels were found; None without labels."""
    unseen: tuple[str, ...]
    """Labelled streams that were not in the records; their windows are not counted."""
    seconds: float
    """Wall time of the detection."""
    legible: Legible | None = None
    """What the records showed about the configuration; None where that was not examined."""
    outside: int = 0
    """Number of windows outside the time span of the records; they are not counted."""
    apart: bool = False
    """Whether there are several files, each with its own state."""

    @property
    def by_kind(self) -> Counter[str]:
        """Number of episodes opened, by kind."""
        return Counter(episode.kind for episode in self.episodes)

    @property
    def realised(self) -> float | None:
        """Pattern alarms per stream and day, to be compared with the budget. None where less than a tenth of a day was
        seen."""
        days = self.tally.stream_days
        return self.by_kind[Kind.PATTERN] / days if days >= 0.1 else None

    @property
    def events_per_second(self) -> float:
        return self.tally.events / self.seconds if self.seconds else 0.0

    @property
    def complaint(self) -> str | None:
        """Why the configuration does not fit these records; None where it does."""
        if self.legible is None:
            return None
        records = self.tally.events + self.rejected
        if not records:
            return "the records hold no event"
        return self.legible.unreadable(records) or backwards(self.tally.by_status["late"], self.tally.events)

    @property
    def doubts(self) -> list[str]:
        """A line for each thing that may make the other results unreliable: records that could not be read, odd times,
        fields that were never there, events without a score."""
        lines, legible, complaint = list[str](), self.legible, self.complaint
        if legible is not None and legible.reasons and not complaint:
            lines.append(f"{self.rejected:,} records could not be read ({legible.summary()})")
        if complaint:
            lines.append(complaint)
        if legible is not None:
            lines += legible.doubts()
        if self.unscored and not complaint:
            lines.append(self.unscored)
        return lines

    @property
    def not_counted(self) -> list[str]:
        """A line for each group of labels that do not apply to these records."""
        lines = [f"labelled but not in the records: {', '.join(self.unseen)}"] if self.unseen else []
        if self.outside:
            windows = "window is" if self.outside == 1 else "windows are"
            lines.append(f"{self.outside:,} labelled {windows} outside the time range of the records, and not counted")
        return lines

    @property
    def unscored(self) -> str | None:
        """Why most events have no score, or streams were evicted, and what to do; None where neither is so. Otherwise a
        small number of episodes means little."""
        gone, apart = self.tally.crowded_out, "with --together" if self.apart else None
        why = mostly_unscored(self.tally.by_status, apart=apart, crowded_out=gone)
        return why or (crowded(gone) if gone else None)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the summary object of `--json`; what is not known is null, and so is a budget without a limit."""
    span, budget = outcome.tally.span, outcome.alarms_per_day
    return {
        "events": outcome.tally.events,
        "by_status": outcome.tally.by_status,
        "unscored": outcome.unscored,
        "rejected": outcome.rejected,
        "rejected_by_reason": {} if outcome.legible is None else dict(outcome.legible.reasons),
        "doubts": [] if outcome.legible is None else outcome.legible.doubts(),
        "streams": len(outcome.tally.streams),
        "stream_days": outcome.tally.stream_days,
        "from": None if span is None else iso(span[0]),
        "to": None if span is None else iso(span[1]),
        "events_per_second": outcome.events_per_second,
        "episodes": len(outcome.episodes),
        "episodes_by_kind": dict(outcome.by_kind),
        "alarms_per_stream_per_day": {
            "budget": budget if math.isfinite(budget) else None,
            "realised": outcome.realised,
        },
        "labels": None if outcome.matched is None else _labels(outcome.matched, outcome.unseen, outcome.outside),
        "model": {"name": outcome.model.name, "version": outcome.model.version, "digest": outcome.model.digest},
    }


def _labels(matched: Matched[Window], unseen: Sequence[str], outside: int) -> dict[str, Any]:
    delay = matched.median_delay
    return {
        "windows": len(matched.hits),
        "found": matched.found,
        "false_alarms": len(matched.false_alarms),
        "precision": matched.precision,
        "recall": matched.recall,
        "f1": matched.f1,
        "median_delay_seconds": None if delay is None else delay / 1_000_000,
        "streams_not_seen": list(unseen),
        "windows_of_other_times": outside,
    }


def episode_json(seen: Seen) -> dict[str, Any]:
    """Return one episode as an object of `--json`."""
    feature = seen.feature
    return {
        "stream": seen.stream,
        "kind": seen.kind,
        "opened": iso(seen.opened),
        "start": iso(seen.start),
        "end": None if seen.end is None else iso(seen.end),
        "severity": seen.severity,
        "events": seen.count,
        "feature": None if feature is None else feature.name,
        "actual": None if feature is None else feature.actual,
        "expected": None if feature is None else feature.expected,
        "reason": seen.reason,
        "alert_id": seen.alert_id,
    }


def duration(seconds: float | None) -> str:
    """Return a time span as a person writes it: 45 s, 12 min, 3.5 h, 2.1 d."""
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            units = seconds / size
            return f"{units:,.0f} {unit}" if units >= 999.5 else f"{units:.3g} {unit}"
    return f"{seconds:.3g} s"


def share(value: float | None) -> str:
    """Return a share in percent, or a dash when it is not known."""
    return "–" if value is None else f"{100 * value:.0f}%"
