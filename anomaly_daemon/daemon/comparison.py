"""Compares two models on the same events: which pattern episodes they share, and how many alarms each would have
raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from anomaly_daemon.detection.alert import Alert, Event, Kind

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(slots=True)
class Comparison:
    """The comparison of the two models on one partition, since it began."""

    shared: dict[str, dict[str, bool]] = field(default_factory=lambda: {CHAMPION: {}, CHALLENGER: {}})
    """For each model, the streams with an open episode, and whether the other model has had one open at the same time."""
    opened: dict[str, int] = field(default_factory=lambda: {CHAMPION: 0, CHALLENGER: 0})
    alone: dict[str, int] = field(default_factory=lambda: {CHAMPION: 0, CHALLENGER: 0})
    """Episodes that closed without the other model having had one of the same stream open meanwhile."""

    def take(self, model: str, alerts: Sequence[Alert]) -> list[bool]:
        """Take in the alerts of one model. For each episode that they close, return whether this model was alone with
        it. Episodes that were open before the comparison began are ignored."""
        closed = []
        for alert in alerts:
            if alert.kind is not Kind.PATTERN:
                continue
            if alert.event is Event.OPEN:
                self._open(model, alert.stream.key)
            elif alert.event is Event.CLOSE and alert.stream.key in self.shared[model]:  # else opened before this began
                closed.append(not self.shared[model].pop(alert.stream.key))
        self.alone[model] += sum(closed)
        return closed

    def _open(self, model: str, key: str) -> None:
        others = self.shared[CHALLENGER if model == CHAMPION else CHAMPION]
        self.opened[model] += 1
        self.shared[model][key] = key in others
        if key in others:
            others[key] = True
