"""How far a training has come, phase by phase, and how long the phase will still take: by the share done, or not known."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

READING, TRAINING, CALIBRATION, GATE = "reading", "training", "calibration", "gate"
EVERY_SECONDS = 30.0
"""Between two log lines of a phase."""


class Tell(Protocol):
    """Told of progress, often. May raise, to end what is under way."""

    def __call__(self, phase: str, share: float, note: str = "") -> None:
        """`share`: of the phase, 0 to 1; NaN where nobody knows how much there is."""


def quiet(phase: str, share: float, note: str = "") -> None:
    """Nobody watches."""


@dataclass(slots=True)
class Begun:
    """A phase, since it was first told of: a training that is resumed begins in the middle."""

    name: str
    at: float
    share: float

    def seconds_left(self, now: float, share: float) -> float:
        """As long as what was done took; NaN before anything was, and where the share is not known."""
        done = share - self.share
        return (1.0 - share) * (now - self.at) / done if done > 0 else math.nan


@dataclass(slots=True)
class UnderWay:
    """A `Tell` that says so when a phase begins, and every so often after."""

    say: Callable[[str, float, float, str], None]
    """Phase, share, seconds left and note; NaN where it is not known."""
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
