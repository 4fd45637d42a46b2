"""What an unusual hour is worth, by how strongly fields keep to the clock (`rhythm`).

Where the clock explains most of a field's variance, a value at an unusual hour is evidence. Where it explains nothing,
the profile of the days is noise, and so is a distance from it.

Shapes: B rows, Q statistics of a row, D numeric features, F = D and categories, J kinds of evidence.
"""

from __future__ import annotations

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import rhythm
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.weighed import Weighed

LEAST = 1e-3
"""The least factor: a weight of 0 could not be divided by."""


@compiled
def by_the_clock(statistics_BQ: Float64, at: rhythm.At, weighed: Weighed, weight_BJ: Float64) -> None:
    """Multiply the weight of season by the share of the variance that the clock explains."""
    for b in range(len(weight_BJ)):
        part_F = weighed.parts_BJ2F[b, Signal.SEASON, 0]
        weight_BJ[b, Signal.SEASON] *= _explained(statistics_BQ[b], at, part_F[: weighed.usual_BD.shape[1]])


@compiled
def _explained(row_Q: Float64, at: rhythm.At, part_D: Float64) -> float:
    """Return the mean of the shares of all fields, weighted by their parts of the evidence; not weighted where no field
    has a part."""
    led, total, plain = 0.0, 0.0, 0.0
    for d in range(len(part_D)):
        explained = 1.0 - rhythm.left(row_Q, at, d)
        led += part_D[d] * explained
        total += part_D[d]
        plain += explained / len(part_D)
    return float(max(led / total if total > 0.0 else plain, LEAST))
