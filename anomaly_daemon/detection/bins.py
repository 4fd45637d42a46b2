"""Distributions of evidence: how many of a stream's events reached each of `EDGES`, and the generalised Pareto tail.

Shapes: K bins.
"""

from __future__ import annotations

from math import exp

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float32

EDGES = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0])
"""Lower edges of the bins of a distribution. Evidence is a logarithm, so they reach from nothing to about 400 times the
ordinary. The last bin is open."""

BINS = len(EDGES)
WIDTHS = np.append(np.diff(EDGES), 1.0)


@compiled
def place(u: float) -> int:
    """Return the index of the bin that this evidence falls into."""
    found = 0
    while found + 1 < BINS and EDGES[found + 1] <= u:
        found += 1
    return found


@compiled
def edges(reached_K: Float32, place: int) -> tuple[float, float]:
    """Return how many events reached the lower and the upper edge of a bin. The open last bin has no upper edge: the
    number is 0."""
    return float(reached_K[place]), float(reached_K[place + 1]) if place + 1 < BINS else 0.0


@compiled
def share(reached_K: Float32, u: float) -> float:
    """Return the share of the stream's events that reached this evidence, by linear interpolation within its bin."""
    here = place(u)
    lower, upper = edges(reached_K, here)
    into = min((u - EDGES[here]) / WIDTHS[here], 1.0)
    return float((lower - into * (lower - upper)) / reached_K[0])


@compiled
def count(reached_K: Float32, u: float, pace: float, memory: float) -> None:
    """Count one more event, weighted by `pace`. Older events count for less: the counts fade over `memory` events."""
    slowed, forgotten = np.float32(pace), np.float32(1.0 / memory)
    for each in range(BINS):
        came = np.float32(1.0) if u >= EDGES[each] else np.float32(0.0)
        reached_K[each] += slowed * (came - reached_K[each] * forgotten)


@compiled
def survival(excess: float, mean_excess: float, shape: float) -> float:
    """Return the probability of a larger excess, by the generalised Pareto distribution with this mean and shape (below
    1)."""
    scale = max(mean_excess * (1.0 - shape), 1e-12)
    return exp(-excess / scale) if shape < 1e-6 else (1.0 + shape * excess / scale) ** (-1.0 / shape)
