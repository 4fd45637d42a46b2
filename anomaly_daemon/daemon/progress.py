"""Where the loop stands, and how long a restore will still take. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replay:
    """The pace of the replays under way: records replayed, and the time that took, since there are any."""

    done: int = 0
    seconds: float = 0.0
    left: int = 0
    """Records still to be replayed when this was looked at."""
    looked: float = math.nan
    """Monotonic time of that look."""

    def at(self, left: int, now: float) -> Replay:
        """The pace at a later look. More may be left than before: then another partition has joined the replay."""
        if math.isnan(self.looked):
            return Replay(0, 0.0, left, now)
        return Replay(self.done + max(0, self.left - left), self.seconds + now - self.looked, left, now)

    @property
    def seconds_left(self) -> float:
        """At the pace so far; NaN before anything was replayed."""
        if not self.left:
            return 0.0
        return self.left * self.seconds / self.done if self.done else math.nan


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the loop stands, for /ready and for people."""

    joined: bool = False
    running: int = 0
    restoring: int = 0
    records_left: int = 0
    """Still to be replayed."""
    seconds_left: float = math.nan
    """Until the replays are done, at their pace so far; NaN while not known, as while snapshots are still read."""

    @property
    def ready(self) -> bool:
        """Assigned and restored. A member that the group gave no partition is ready too: it stands by."""
        return self.joined and not self.restoring
