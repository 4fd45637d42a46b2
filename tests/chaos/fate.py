"""A death at a place of one's choice."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from anomaly_daemon.transport.steps import STEPS

WIRE = ("end sent", "end answered")
"""Of a delivery's commit: its EndTxn is on its way; its answer is here, and nobody has read it."""
RESTORE = ("load", "loaded", "replay")
REBALANCE = ("revoked", "handed over", "assigned", "taken note of")
PLACES = (*STEPS, *WIRE, *RESTORE, *REBALANCE)


@dataclass(frozen=True, slots=True)
class Death:
    """At the visit number `visit` of a place. `how` may be SIGSTOP: then it lives again when somebody wakes it."""

    place: str
    visit: int = 1
    how: signal.Signals = signal.SIGKILL


@dataclass(slots=True)
class Fate:
    """Told of every place the process comes to."""

    death: Death | None
    visits: int = 0

    def is_near(self, place: str) -> bool:
        """Coming to this place now is the death."""
        return self.death is not None and self.death.place == place and self.death.visit == self.visits + 1

    def __call__(self, place: str) -> None:
        if self.death is None or self.death.place != place:
            return
        self.visits += 1
        if self.visits == self.death.visit:
            os.kill(os.getpid(), self.death.how)
