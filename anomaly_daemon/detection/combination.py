"""Combines the p-values of all kinds of evidence into one, with the kind that leads; and keeps the average surprise
over a run of events.

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
"""The largest surprise, -log p, with which an event enters the average: a single event is not a run of them."""

LEAST = 1.5
"""The average counts only above this: by chance alone it is 1."""


class Combined(NamedTuple):
    """The combined result, [B] each."""

    p: Float64
    """NaN where nothing is known."""
    leading: Int64
    """The kind with the smallest p-value relative to its odds; the first kind where nothing is known."""


class At(NamedTuple):
    """The place of this module's column in a row of statistics."""

    surprise: int
    """The moving average of the surprise of the stream's events."""


def columns() -> list[Column]:
    """Return the columns that a row needs for this module."""
    return [Column("surprise")]


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    return At(layout.start("surprise"))


def joined(p_BJ: Float64, odds_J: Float64, weight_BJ: Float64) -> Combined:
    """Return the result of `harmonic` in new arrays."""
    combined = Combined(np.empty(len(p_BJ)), np.empty(len(p_BJ), np.int64))
    harmonic(p_BJ, odds_J, weight_BJ, combined)
    return combined


@compiled
def harmonic(p_BJ: Float64, odds_J: Float64, weight_BJ: Float64, combined: Combined) -> None:
    """Compute the harmonic mean of the p-values, weighted by prior odds (Good 1958; Wilson 2019), into `combined`.
    Unknown p-values are skipped. The harmonic mean does not require independence, and is dominated by the smallest
    p-values. Evidence that persists has many chances to be the smallest. The odds are therefore those of a single
    event: each kind's prior odds times its weight, which is the share of its excesses that begin a run, as changed by
    `odds`."""
    for b in range(len(p_BJ)):
        total, surprise, least, combined.leading[b] = 0.0, 0.0, inf, 0
        for j in range(p_BJ.shape[1]):
            p, odds = p_BJ[b, j], odds_J[j] * weight_BJ[b, j]
            if not isnan(p):
                total += odds
                surprise += odds / max(p, 1e-300)
                if p / odds < least:
                    least = p / odds
                    combined.leading[b] = j
        combined.p[b] = total / surprise if total > 0 else nan


@compiled
def sustain(statistics_BQ: Float64, at: At, rate: float, p_B: Float64, sustained_B: Float64) -> None:
    """Write p-values for scores into `sustained_B`: no event is less surprising than the events around it are on
    average, because a calm moment within a lasting anomaly is part of the anomaly. `rate`: of the moving average. An
    unknown p-value stays unknown, and does not change the average."""
    for b in range(len(p_B)):
        sustained_B[b] = p_B[b]
        if not isnan(p_B[b]):
            lasting = statistics_BQ[b, at.surprise]
            lasting += rate * (min(-log(max(p_B[b], 1e-300)), MOST) - lasting)
            statistics_BQ[b, at.surprise] = lasting
            if lasting > LEAST:
                sustained_B[b] = min(p_B[b], exp(-lasting))
