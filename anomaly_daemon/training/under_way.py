"""Progress of a training, phase by phase, with an estimate of the time left in the phase.

The estimate follows from the share of the phase that is done; it is NaN where that is not known.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

READING, TRAINING, CALIBRATION, GATE = "reading", "training", "calibration", "gate"
EVERY_SECONDS = 30.0
"""Seconds between two reports of a phase."""


class Tell(Protocol):
    """A callback for progress, which is called often. It may raise to end the work that is under way."""

    def __call__(self, phase: str, share: float, note: str = "") -> None:
        """Report that `share` of the phase is done, 0 to 1; NaN where the total is not known."""


def quiet(phase: str, share: float, note: str = "") -> None:
    """A `Tell` that ignores all progress."""


@dataclass(slots=True)
class Begun:
    """A phase, and the time and share at its first report. A training that is resumed starts in the middle of its
    phase."""

    name: str
    at: float
    share: float

    def seconds_left(self, now: float, share: float) -> float:
        """Return the seconds left at the pace since the phase began; NaN before any progress, and where the share is
        not known."""
        done = share - self.share
        return (1.0 - share) * (now - self.at) / done if done > 0 else math.nan


@dataclass(slots=True)
class UnderWay:
    """A `Tell` that reports through `say` when a phase begins, and every `every` seconds after that."""

    say: Callable[[str, float, float, str], None]
    """Called with phase, share, seconds left and note; numbers that are not known are NaN."""
    clock: Callable[[], float] = time.monotonic
    every: float = EVERY_SECONDS
    _phase: Begun = field(default_factory=lambda: Begun("", 0.0, 0.0))
    _said: float = -math.inf

    def __call__(self, phase: str, share: float, note: str = "") -> None:
        now = self.clock()
        if phase != self._phase.name:
            self._phase, self._said = Begun(phase, now, share), -math.inf
        if now - self._said >= self.every:
            self._said = now
            self.say(phase, share, self._phase.seconds_left(now, share), note)
