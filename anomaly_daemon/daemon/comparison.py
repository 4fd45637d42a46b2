"""Two models on the same events: which pattern episodes they share, and how many alarms each would have raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from anomaly_daemon.detection.alert import Alert, Event, Kind

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(slots=True)
class Comparison:
    """One partition's, since it began."""

    shared: dict[str, dict[str, bool]] = field(default_factory=lambda: {CHAMPION: {}, CHALLENGER: {}})
    """By model, the streams with an open episode, and whether the other had one open at the same time."""
    opened: dict[str, int] = field(default_factory=lambda: {CHAMPION: 0, CHALLENGER: 0})
    alone: dict[str, int] = field(default_factory=lambda: {CHAMPION: 0, CHALLENGER: 0})
    """Episodes that closed without the other having had one meanwhile."""

    def take(self, model: str, alerts: Sequence[Alert]) -> list[bool]:
        """Take in what one of them says; for each episode it closed, whether it was alone with it."""
        closed = []
        for alert in alerts:
            if alert.kind is not Kind.PATTERN:
                continue
            if alert.event is Event.OPEN:
                self._open(model, alert.stream.key)
            elif alert.event is Event.CLOSE and alert.stream.key in self.shared[model]:  # else it is older than this
                closed.append(not self.shared[model].pop(alert.stream.key))
        self.alone[model] += sum(closed)
        return closed

    def _open(self, model: str, key: str) -> None:
        others = self.shared[CHALLENGER if model == CHAMPION else CHAMPION]
        self.opened[model] += 1
        self.shared[model][key] = key in others
        if key in others:
            others[key] = True
