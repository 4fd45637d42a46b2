"""Makes alerts from turns of episodes, with what only the stream's row stores."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from anomaly_daemon.detection.alert import Alert, Event, Phase
from anomaly_daemon.detection.episode import KINDS, Turn
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.explain import Cause, Origin, alert
from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.detection.order import Trigger
from anomaly_daemon.detection.realised import spent
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.state import Rows, Slab


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert to be reported, with what decides its place among the alerts of the step."""

    by: Trigger
    key: str
    turn: Turn
    alert: Alert

    def order(self) -> tuple[int, int, str, int, int]:
        return (
            self.by.offset,
            self.by.index,
            self.key,
            KINDS.index(self.turn.kind),
            tuple(Event).index(self.turn.event),
        )


@dataclass(frozen=True, slots=True)
class Teller:
    """Makes the alerts of one detector."""

    origin: Origin
    rules: Rules
    slab: Slab
    opened: dict[str, Evidence] = field(default_factory=dict)
    """The evidence of each episode that was opened, by alert id, until `take_evidence`."""

    def tell(self, rows: Rows, one: Turn, row_B: Int64, by: Trigger, cause: Cause) -> Raised:
        """Return the alert of an episode's turn."""
        seen = int(rows["cal_count"][one.row])
        phase = Phase("calibrated" if seen >= self.rules.grace_events else "warming", seen, self.rules.grace_events)
        known = (rows[name][one.row : one.row + 1] for name in ("opens", "opens_at", "first_time", "last_time"))
        realised = spent(*known).rate
        key = self.slab.key_of[int(row_B[one.row])]
        message = alert(self.origin, one, key, cause, phase, realised, by)
        if one.event is Event.OPEN:
            self.opened[message.alert_id] = self._evidence(key, int(row_B[one.row]), by)
        return Raised(by, key, one, message)

    def _evidence(self, key: str, row: int, by: Trigger) -> Evidence:
        """Return the evidence of an episode that opens. The slab still holds the row as it was before this event: rows
        are scattered back only after all alerts are made."""
        before, clock = (by.time, by.time) if by.before is None else (by.before, None)
        return Evidence(key, by.offset, by.index, before, clock, self.slab.gather(np.array([row])))

    def take_evidence(self) -> dict[str, Evidence]:
        """Return the evidence of the episodes opened since the last call, by alert id."""
        taken = dict(self.opened)
        self.opened.clear()
        return taken
