"""Moving averages: exponential ones over so many events. Shapes: Q statistics of a row."""

from __future__ import annotations

from math import isnan
from typing import NamedTuple, Self

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64


class Window(NamedTuple):
    """Of a moving average."""

    events: float
    rate: float

    @classmethod
    def of(cls, events: float) -> Self:
        """The exponential one over so many."""
        return cls(max(events, 1.0), 2.0 / (max(events, 1.0) + 1.0))


@compiled
def moved(row_Q: Float64, place: int, x: float, window: Window) -> float:
    """The moving average after this; an unknown one leaves it as it is."""
    if not isnan(x):
        row_Q[place] += window.rate * (x - row_Q[place])
    return float(row_Q[place])
