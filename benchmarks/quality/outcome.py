"""The result of one detector on one series. Shapes: N events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.series import Bool, Float64, Series


@dataclass(frozen=True, slots=True)
class Outcome:
    """The columns that a detector gives for all events of a series."""

    score_N: Float64
    """The score: the larger, the more anomalous; NaN where it is not known."""
    opened_N: Bool
    """Whether an episode opened at this event, which is an alarm."""
    open_N: Bool
    """Whether an episode is open."""
    seconds: float
    """Wall time of the detection. Where several series ran together, the share of this one."""

    @property
    def known_N(self) -> Float64:
        """The scores, with those not known placed below all that are, so that they cannot look like an anomaly."""
        finite = self.score_N[np.isfinite(self.score_N)]
        lowest = float(finite.min()) - 1.0 if len(finite) else 0.0
        return np.where(np.isnan(self.score_N), lowest, self.score_N)


Detect = Callable[[Sequence[Series], float], list[Outcome]]
"""A function from series, and the alarms allowed per stream and day, to one outcome each."""
