"""How far the loop has come with its partitions, and how long a restore will still take. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replay:
    """The pace of the replays under way: the records replayed and the seconds they took, since there have been any
    replays."""

    done: int = 0
    seconds: float = 0.0
    left: int = 0
    """Records still to be replayed at the last check."""
    looked: float = math.nan
    """Monotonic time of that check; NaN before the first."""

    def at(self, left: int, now: float) -> Replay:
        """Return the pace at a later check. If more records are left than before, another partition has joined the
        replay."""
        if math.isnan(self.looked):
            return Replay(0, 0.0, left, now)
        return Replay(self.done + max(0, self.left - left), self.seconds + now - self.looked, left, now)

    @property
    def seconds_left(self) -> float:
        """Seconds until the replays are done, at the pace so far; NaN before anything was replayed."""
        if not self.left:
            return 0.0
        return self.left * self.seconds / self.done if self.done else math.nan


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of the loop's partitions, for /ready and for the log."""

    joined: bool = False
    running: int = 0
    restoring: int = 0
    records_left: int = 0
    """Records still to be replayed."""
    seconds_left: float = math.nan
    """Seconds until the replays are done, at their pace so far. NaN while that is not known, such as while snapshots
    are still being read."""

    @property
    def ready(self) -> bool:
        """Whether this member is assigned and restored. A member that the group gave no partition is ready too: it is
        on standby."""
        return self.joined and not self.restoring
