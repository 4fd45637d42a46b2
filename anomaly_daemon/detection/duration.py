"""How long something usually lasts: the gap between events, a run of equal values, a run without a field.

One model serves three kinds of anomaly. A duration is improbable when it exceeds all of: a stated minimum, a multiple of
the longest seen, and the quantile of two laws with the stream's mean. The exponential one, mean x ln(1/p), is the most
spread-out law of a steady process, so a regular stream is judged mildly. A clock of another kind (a switch that is thrown
in bursts) has a longest duration far beyond it: the longest of n is the quantile of 1/n, and a power law through it reaches
on to p. A switch that has done for an hour at most what it mostly does for a minute may do it for three.

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
"""Completed durations that the mean remembers."""

KNOWN_AFTER = 20
"""Completed durations before a limit exists."""

LEARN_ANOMALY = 1.25
"""An improbable duration stretches the longest by no more than this: a long silence does not license the next one."""

FADING = 0.1 / MEMORY
"""Of the longest, at each completed duration."""

LONGEST_OF = 1.0 / FADING
"""The most durations that the longest is the longest of."""

COMMONEST = 0.05
"""A duration that is more probable than this is never an anomaly."""


class At(NamedTuple):
    """Where a row has what is known of a clock's completed durations: the place of the first of each."""

    mean: int
    longest: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(clock: str, shape: tuple[int, ...] = ()) -> list[Column]:
    """What a row must hold."""
    return [Column(f"{clock}_{name}", shape) for name in At._fields]


def at(layout: StateLayout, clock: str) -> At:
    """Where the rows of this layout hold those of this clock."""
    return At(*(layout.start(f"{clock}_{name}") for name in At._fields))


@compiled
def limit(row_Q: Float64, at: At, i: int, minimum: float, longest_ratio: float, rarity: float) -> float:
    """The duration past which it is an anomaly; infinite while too little is known. `rarity`: of one that lasts longer, by
    `rarity_of`."""
    count, mean, longest = row_Q[at.count + i], row_Q[at.mean + i], row_Q[at.longest + i]
    if count < KNOWN_AFTER:
        return inf
    reach = mean * (longest / mean) ** (rarity / log(min(count, LONGEST_OF))) if longest > mean > 0 else 0.0
    return float(max(minimum, longest_ratio * longest, mean * rarity, reach))


@compiled
def rarity_of(p: float) -> float:
    """Minus the logarithm of a probability per completed duration."""
    return -log(min(p, COMMONEST))


@compiled
def absorb(row_Q: Float64, at: At, i: int, duration: float, limit: float) -> None:
    """Take in one that ended now; past its `limit` it counts only in part."""
    longest = row_Q[at.longest + i]
    told = min(duration, LEARN_ANOMALY * longest) if duration > limit else duration
    row_Q[at.count + i] += 1.0
    rate = max(1.0 / row_Q[at.count + i], 1.0 / MEMORY)
    row_Q[at.mean + i] += rate * (told - row_Q[at.mean + i])
    row_Q[at.longest + i] = max(longest * (1.0 - FADING), told)


def means(duration_ST: Float64) -> Float64:
    """Of S clocks, each with T durations one after the other: the mean that was known before each, [S, T]. The first of
    each is none."""
    known_ST, at = np.zeros_like(duration_ST), At(0, 1, 2)
    _means(duration_ST, np.zeros((len(duration_ST), len(at))), at, known_ST)
    return known_ST


@compiled
def _means(duration_ST: Float64, clock_SQ: Float64, at: At, known_ST: Float64) -> None:
    for s in range(len(duration_ST)):
        for t in range(1, duration_ST.shape[1]):
            known_ST[s, t] = clock_SQ[s, at.mean]
            absorb(clock_SQ[s], at, 0, duration_ST[s, t], inf)
