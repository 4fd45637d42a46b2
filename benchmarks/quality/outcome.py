"""What a detector made of a series. Shapes: N events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.series import Bool, Float64, Series


@dataclass(frozen=True, slots=True)
class Outcome:
    """One column of each, over all events of a series."""

    score_N: Float64
    """The larger the more anomalous; NaN where it is not known."""
    opened_N: Bool
    """An episode opened here: an alarm."""
    open_N: Bool
    """An episode is open."""
    told_N: Float64
    """The severity a subscriber was told here, 0 where nothing was told."""
    seconds: float
    """Wall time of the detection, as this series' share of what ran together."""

    @property
    def known_N(self) -> Float64:
        """The scores with what is not known below all that is: it must not look like an anomaly."""
        finite = self.score_N[np.isfinite(self.score_N)]
        lowest = float(finite.min()) - 1.0 if len(finite) else 0.0
        return np.where(np.isnan(self.score_N), lowest, self.score_N)


Detect = Callable[[Sequence[Series], float], list[Outcome]]
"""Series and the alarms allowed per stream and day, to an outcome each."""
