"""Kills the process at a chosen place of its code."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from anomaly_daemon.transport.steps import STEPS

WIRE = ("end sent", "end answered")
"""Places in a delivery's commit: its EndTxn request has been sent; its answer has been received, and was not processed
yet."""
RESTORE = ("load", "loaded", "replay")
REBALANCE = ("revoked", "handed over", "assigned", "taken note of")
PLACES = (*STEPS, *WIRE, *RESTORE, *REBALANCE)


@dataclass(frozen=True, slots=True)
class Death:
    """A death at the visit number `visit` of a place. `how` may be SIGSTOP, which only pauses the process until it is
    woken."""

    place: str
    visit: int = 1
    how: signal.Signals = signal.SIGKILL


@dataclass(slots=True)
class Fate:
    """Called at every place that the process reaches; kills the process where its death is due."""

    death: Death | None
    visits: int = 0

    def is_near(self, place: str) -> bool:
        """Return whether reaching this place now would be the death."""
        return self.death is not None and self.death.place == place and self.death.visit == self.visits + 1

    def __call__(self, place: str) -> None:
        if self.death is None or self.death.place != place:
            return
        self.visits += 1
        if self.visits == self.death.visit:
            os.kill(os.getpid(), self.death.how)
