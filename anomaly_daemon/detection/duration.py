"""How long something usually lasts: the gap between events, a run of equal values, a run of events without a field.

One model serves three kinds of anomaly. A duration is improbable when it exceeds all of these: a given minimum, a
multiple of the longest duration seen, and the quantiles of two distributions with the stream's mean. The first is the
exponential distribution, with the quantile mean x ln(1/p). It is the most spread-out distribution of a steady process,
so a regular stream is judged mildly. The second is for clocks of another kind (a switch that is thrown in bursts),
whose longest duration is far beyond the exponential quantile. The longest of n durations estimates the quantile of 1/n,
and a power law through it is extrapolated to p. For example, a switch that mostly stays for a minute, and has stayed
for an hour at most, may stay for three.

"Clock" in this module means one such process of one stream, whose durations follow one another.

Shapes: Q statistics of a row.
"""

from __future__ import annotations

from math import inf, log
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, StateLayout

MEMORY = 500.0
"""Number of completed durations that the mean remembers."""

KNOWN_AFTER = 20
"""Number of completed durations before a limit exists."""

LEARN_ANOMALY = 1.25
"""An improbable duration extends the longest by at most this factor: a long silence must not make the next one
acceptable."""

FADING = 0.1 / MEMORY
"""The share of the longest duration that is forgotten at each completed duration."""

LONGEST_OF = 1.0 / FADING
"""The largest number of durations of which the longest is regarded as the longest."""

COMMONEST = 0.05
"""A duration that is more probable than this is never an anomaly."""


class At(NamedTuple):
    """Where the columns of a clock's completed durations start in a row: the place of the first of each."""

    mean: int
    longest: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(clock: str, shape: tuple[int, ...] = ()) -> list[Column]:
    """Return the columns that a row needs for this clock."""
    return [Column(f"{clock}_{name}", shape) for name in At._fields]


def at(layout: StateLayout, clock: str) -> At:
    """Return the places of this clock's columns in rows of this layout."""
    return At(*(layout.start(f"{clock}_{name}") for name in At._fields))


@compiled
def limit(row_Q: Float64, at: At, i: int, minimum: float, longest_ratio: float, rarity: float) -> float:
    """Return the duration past which clock `i` is anomalous; infinite while too little is known. `rarity`: that of an
    anomalous duration, by `rarity_of`."""
    count, mean, longest = row_Q[at.count + i], row_Q[at.mean + i], row_Q[at.longest + i]
    if count < KNOWN_AFTER:
        return inf
    reach = mean * (longest / mean) ** (rarity / log(min(count, LONGEST_OF))) if longest > mean > 0 else 0.0
    return float(max(minimum, longest_ratio * longest, mean * rarity, reach))


@compiled
def rarity_of(p: float) -> float:
    """Return minus the logarithm of a probability per completed duration, which counts as at most `COMMONEST`."""
    return -log(min(p, COMMONEST))


@compiled
def absorb(row_Q: Float64, at: At, i: int, duration: float, limit: float) -> None:
    """Learn a duration that has just ended; past its `limit` it counts only in part."""
    longest = row_Q[at.longest + i]
    learned = min(duration, LEARN_ANOMALY * longest) if duration > limit else duration
    row_Q[at.count + i] += 1.0
    rate = max(1.0 / row_Q[at.count + i], 1.0 / MEMORY)
    row_Q[at.mean + i] += rate * (learned - row_Q[at.mean + i])
    row_Q[at.longest + i] = max(longest * (1.0 - FADING), learned)


def means(duration_ST: Float64) -> Float64:
    """Return, for S clocks with T successive durations each, the mean that was known before each duration, [S, T]. The
    first entry of each clock is not a duration, and is ignored."""
    known_ST, at = np.zeros_like(duration_ST), At(0, 1, 2)
    _means(duration_ST, np.zeros((len(duration_ST), len(at))), at, known_ST)
    return known_ST


@compiled
def _means(duration_ST: Float64, clock_SQ: Float64, at: At, known_ST: Float64) -> None:
    for s in range(len(duration_ST)):
        for t in range(1, duration_ST.shape[1]):
            known_ST[s, t] = clock_SQ[s, at.mean]
            absorb(clock_SQ[s], at, 0, duration_ST[s, t], inf)
