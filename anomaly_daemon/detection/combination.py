"""One p-value of several kinds of evidence, and which of them led; and what a run of surprising events is worth.

Shapes: B rows, J kinds of evidence, Q statistics of a row.
"""

from __future__ import annotations

from math import exp, inf, isnan, log, nan
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.detection.state import Column, StateLayout

MOST = log(100.0)
"""An event's surprise, -log p, counts for this much at most in what lasts: one event is no run of them."""

LEAST = 1.5
"""The average says nothing up to here: it is 1 by chance alone."""


class Combined(NamedTuple):
    """[B] each."""

    p: Float64
    """NaN where nothing is known."""
    leading: Int64
    """The kind whose p-value is the least, for its odds; the first where nothing is known."""


class At(NamedTuple):
    """Where a row has it."""

    surprise: int
    """The moving average of what its events were worth."""


def columns() -> list[Column]:
    """What a row must hold."""
    return [Column("surprise")]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold it."""
    return At(layout.start("surprise"))


def joined(p_BJ: Float64, odds_J: Float64, extremal_BJ: Float64) -> Combined:
    """`harmonic`, in an answer of its own."""
    combined = Combined(np.empty(len(p_BJ)), np.empty(len(p_BJ), np.int64))
    harmonic(p_BJ, odds_J, extremal_BJ, combined)
    return combined


@compiled
def harmonic(p_BJ: Float64, odds_J: Float64, extremal_BJ: Float64, combined: Combined) -> None:
    """The harmonic mean, weighted by prior odds (Good 1958; Wilson 2019), into `combined`. Unknown p-values are left out.
    It needs no independence, and is led by the least of them. What persists has many chances to be that, so the odds are
    those of a single event: each kind's times the share of its excesses that begin a run."""
    for b in range(len(p_BJ)):
        total, surprise, least, combined.leading[b] = 0.0, 0.0, inf, 0
        for j in range(p_BJ.shape[1]):
            p, odds = p_BJ[b, j], odds_J[j] * extremal_BJ[b, j]
            if not isnan(p):
                total += odds
                surprise += odds / max(p, 1e-300)
                if p / odds < least:
                    least = p / odds
                    combined.leading[b] = j
        combined.p[b] = total / surprise if total > 0 else nan


@compiled
def sustain(statistics_BQ: Float64, at: At, rate: float, p_B: Float64, sustained_B: Float64) -> None:
    """Into `sustained_B`: p-values by which no event is less surprising than those around it are on average, for a calm
    moment in the midst of an anomaly that lasts is part of it. `rate`: of the moving average. What is unknown stays so, and
    moves nothing."""
    for b in range(len(p_B)):
        sustained_B[b] = p_B[b]
        if not isnan(p_B[b]):
            lasting = statistics_BQ[b, at.surprise]
            lasting += rate * (min(-log(max(p_B[b], 1e-300)), MOST) - lasting)
            statistics_BQ[b, at.surprise] = lasting
            if lasting > LEAST:
                sustained_B[b] = min(p_B[b], exp(-lasting))
