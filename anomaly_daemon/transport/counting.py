"""Recognises counters: fields that only rise. A counter's value has no meaning of its own, only its rise per second has
(`transform: rate`)."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection.observation import Float64, Int64

ENOUGH = 30
"""The number of rises, from one value of a stream to its next, that a counter must have shown. So many rises without a
fall happen by chance once in a billion."""
MOST_RESTARTS = 0.01
"""The largest number of falls per rise that a counter may have. A counter falls when it restarts."""


class Rises:
    """Counts the rises and falls of one field over a run of readings. Its memory does not grow with the number of
    readings."""

    def __init__(self) -> None:
        self.rises = self.falls = self.below = 0

    def read(self, stream_N: Int64, value_N: Float64) -> None:
        """Count the steps between successive values of each stream. Values are in the order of time, NaN where there is
        none. The step from one call's last value to the next call's first is not counted."""
        there_N = np.isfinite(value_N)
        order_N = np.argsort(stream_N[there_N], kind="stable")
        value_N, stream_N = value_N[there_N][order_N], stream_N[there_N][order_N]
        step_N = np.diff(value_N)[np.diff(stream_N) == 0]
        self.rises += int((step_N > 0).sum())
        self.falls += int((step_N < 0).sum())
        self.below += int((value_N < 0).sum())

    @property
    def counts(self) -> bool:
        """Whether the field only rises (except for restarts) and is never negative, as a counter does."""
        return self.rises >= ENOUGH and self.falls <= MOST_RESTARTS * self.rises and not self.below
