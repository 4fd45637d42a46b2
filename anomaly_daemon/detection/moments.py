"""Mean and standard deviation of something a stream shows, over a long memory: what is usual for it.

A short memory takes the beginning of a long anomaly, or yesterday alone, for the norm; here the memory is several times
the normaliser's. Updates are winsorised, so an outlier moves them little, and an anomaly of a day a little. That is all the
protection they have: were they to learn nothing while an episode is open, a stream that has changed would stay open.
Shapes: every array is [B, ...].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, Rows

KNOWN_AFTER = 8
"""Values before there is a standard deviation; until then nothing is unusual."""

WINSOR = 5.0
"""A value further than this many standard deviations off teaches as if it were this far."""

WINSOR_AFTER = 30
"""Values before one is called an outlier."""

SMALLEST = 1e-9


@dataclass(frozen=True, slots=True)
class Moments:
    """What is known before an event."""

    mean: Float64
    variance: Float64
    count: Float64

    @classmethod
    def of(cls, rows: Rows, name: str) -> Moments:
        """A copy of what the rows hold under this name."""
        return cls(*(rows[f"{name}_{part}"].copy() for part in ("mean", "variance", "count")))

    def keep(self, rows: Rows, name: str) -> None:
        """Put it into the rows."""
        rows[f"{name}_mean"], rows[f"{name}_variance"], rows[f"{name}_count"] = self.mean, self.variance, self.count

    def scale(self, floor: Float64 | float) -> Float64:
        """The standard deviation, never below the floor, never 0."""
        return np.asarray(np.maximum(np.maximum(np.sqrt(self.variance), floor), SMALLEST))

    def standardised(self, x: Float64, floor: Float64 | float) -> Float64:
        """Distance from the mean in standard deviations; 0 while too little is known, NaN where `x` is."""
        z = (x - self.mean) / self.scale(floor)
        return np.where(np.isnan(x) | (self.count >= KNOWN_AFTER), z, 0.0)

    def after(self, x: Float64, floor: Float64 | float, memory: float) -> Moments:
        """What is known after it; NaN leaves it as it is."""
        there = ~np.isnan(x)
        reach = np.where(self.count >= WINSOR_AFTER, WINSOR * self.scale(floor), np.inf)
        step = np.clip(np.where(there, x - self.mean, 0.0), -reach, reach)
        count = self.count + there
        rate = np.maximum(1.0 / np.maximum(count, 1.0), 1.0 / memory) * there
        return Moments(self.mean + rate * step, (1.0 - rate) * (self.variance + rate * step**2), count)


def columns(name: str, shape: tuple[int, ...]) -> list[Column]:
    """What a row must hold."""
    return [Column(f"{name}_{part}", shape) for part in ("mean", "variance", "count")]
