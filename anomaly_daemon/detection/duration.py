"""How long something usually lasts: the gap between events, a run of equal values, a run without a field.

One model serves three kinds of anomaly. A duration is improbable when it exceeds all of: a stated minimum, a multiple of
the longest seen, and mean x ln(1/p), the quantile of an exponential law with the stream's mean (the most spread-out law
of a steady process, so a regular stream is judged mildly and an irregular one fairly).

Shapes: every array is [B, ...], one entry a row and clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Float64

MEMORY = 500.0
"""Completed durations that the mean remembers."""

KNOWN_AFTER = 20
"""Completed durations before a limit exists."""

LEARN_ANOMALY = 1.25
"""An improbable duration stretches the longest by no more than this: a long silence does not license the next one."""


@dataclass(frozen=True, slots=True)
class Durations:
    """What is known of a clock's completed durations; all zero when nothing is."""

    mean: Float64
    longest: Float64
    count: Float64

    def limit(self, minimum: Float64 | float, longest_ratio: float, p: Float64 | float) -> Float64:
        """The duration past which it is an anomaly at probability `p`; infinite while too little is known."""
        limit = np.maximum(np.maximum(minimum, longest_ratio * self.longest), self.mean * -np.log(p))
        return np.where(self.count >= KNOWN_AFTER, limit, np.inf)

    def absorb(self, duration: Float64, ended: npt.NDArray[np.bool_], limit: Float64) -> Durations:
        """What is known after the durations that `ended` now; one past its `limit` counts only in part."""
        duration = np.where(duration > limit, np.minimum(duration, LEARN_ANOMALY * self.longest), duration)
        count = self.count + ended
        rate = np.maximum(1.0 / np.maximum(count, 1.0), 1.0 / MEMORY)
        mean = self.mean + np.where(ended, rate * (duration - self.mean), 0.0)
        faded = self.longest * (1.0 - 0.1 / MEMORY)
        longest = np.where(ended, np.maximum(faded, duration), self.longest)
        return Durations(mean, longest, count)
