"""Exponentially weighted moving averages over a given number of events. Shapes: Q statistics of a row."""

from __future__ import annotations

from math import isnan
from typing import NamedTuple, Self

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64


class Window(NamedTuple):
    """The window of a moving average: its length in events, and the rate that follows from it."""

    events: float
    rate: float

    @classmethod
    def of(cls, events: float) -> Self:
        """Return the window of an exponentially weighted moving average over this many events."""
        return cls(max(events, 1.0), 2.0 / (max(events, 1.0) + 1.0))


@compiled
def moved(row_Q: Float64, place: int, x: float, window: Window) -> float:
    """Update the moving average at this place of the row with `x`, and return it. NaN leaves it unchanged."""
    if not isnan(x):
        row_Q[place] += window.rate * (x - row_Q[place])
    return float(row_Q[place])
