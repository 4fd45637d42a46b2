"""One p-value of several kinds of evidence, and which of them led.

Shapes: B rows, J kinds of evidence.
"""

from __future__ import annotations

from math import inf, isnan, nan
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float64, Int64


class Combined(NamedTuple):
    """[B] each."""

    p: Float64
    """NaN where nothing is known."""
    leading: Int64
    """The kind whose p-value is the least, for its odds; the first where nothing is known."""


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
