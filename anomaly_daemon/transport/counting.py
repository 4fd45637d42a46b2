"""Fields that only rise: counters, whose values say nothing, and what they count a second does (`transform: rate`)."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection.observation import Float64, Int64

ENOUGH = 30
"""Rises from one reading of a stream to its next: by chance so many come without a fall once in a billion."""
BEGUN_ANEW = 0.01
"""Falls beside the rises, at most: restarts."""


class Rises:
    """Of one field, over a run of readings. Memory does not grow with it."""

    def __init__(self) -> None:
        self.rises = self.falls = self.below = 0

    def read(self, stream_N: Int64, value_N: Float64) -> None:
        """These, in the order of time; NaN where there is none."""
        there_N = np.isfinite(value_N)
        order_N = np.argsort(stream_N[there_N], kind="stable")
        value_N, stream_N = value_N[there_N][order_N], stream_N[there_N][order_N]
        step_N = np.diff(value_N)[np.diff(stream_N) == 0]
        self.rises += int((step_N > 0).sum())
        self.falls += int((step_N < 0).sum())
        self.below += int((value_N < 0).sum())

    @property
    def counts(self) -> bool:
        """Whether it only rises, but for restarts."""
        return self.rises >= ENOUGH and self.falls <= BEGUN_ANEW * self.rises and not self.below
