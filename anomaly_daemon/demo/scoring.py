"""The result of a demo: injected faults that were found, how late, and false alarms against the budget. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anomaly_daemon.demo.faults import Fault, FaultKind
from anomaly_daemon.demo.generator import Generated
from anomaly_daemon.report.episodes import Seen
from anomaly_daemon.report.matching import Matched, match


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one deployment."""

    matched: Matched[Fault]
    streams: int
    days: float
    alarms_per_day: float
    """The budget, per stream."""

    @property
    def alarm_budget(self) -> float:
        """Alarms that the budget allows over the whole run, all streams together."""
        return self.alarms_per_day * self.streams * self.days

    @property
    def by_kind(self) -> dict[FaultKind, tuple[int, int]]:
        """The number of faults found and of faults injected, by kind."""
        counts: dict[FaultKind, tuple[int, int]] = {}
        for hit in self.matched.hits:
            found, injected = counts.get(hit.window.kind, (0, 0))
            counts[hit.window.kind] = (found + (hit.episode is not None), injected + 1)
        return counts


def outcome(generated: Generated, episodes: Sequence[Seen], alarms_per_day: float) -> Outcome:
    """Return the result. A fault is found by an episode that opened while the fault lasted. Alarms in its aftermath are
    counted separately."""
    matched = match(generated.faults, episodes, aftermath=generated.aftermath)
    return Outcome(matched, len(generated.streams), generated.days, alarms_per_day)
