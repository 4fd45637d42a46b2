"""Alarms for detectors that only give scores, by the threshold that would have kept to the budget on the stream's own
past.

An episode opens where a score passes the threshold, and ends after `CLOSE_AFTER` scores in a row that do not, as in the
daemon. Row i therefore opens an episode at every threshold between the largest of the `CLOSE_AFTER` scores before it
and its own score. The openings at all thresholds are counted in one sweep over the ends of these intervals.

Shapes: N events, M ends of intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.settings import EpisodeSettings
from benchmarks.quality.series import Bool, Float64, Series

CLOSE_AFTER = EpisodeSettings().close_after
GRACE = 50
"""Number of scores before there is a threshold: the daemon's own grace period."""

RELEARN = 1.05
"""The threshold is computed again each time the past has grown by this factor."""


def alarms(series: Series, score_N: Float64, per_day: float) -> tuple[Bool, Bool]:
    """Return two columns [N]: whether an episode opens at each event, and whether one is open. The threshold of an
    event depends only on the scores before it."""
    above_N = np.zeros(len(series), bool)
    days_N = (series.time_N - series.time_N[0]) / 86_400e6
    start = GRACE
    while start < len(series):
        stop = max(int(start * RELEARN), start + GRACE)
        limit = threshold(score_N[:start], int(per_day * days_N[start]))
        above_N[start:stop] = score_N[start:stop] > limit
        start = stop
    return episodes(above_N)


def threshold(score_N: Float64, most: int) -> float:
    """Return the lowest threshold such that neither it nor a higher one would have opened more than `most` episodes."""
    before_N = _largest_before(score_N.astype(float), -np.inf, CLOSE_AFTER)
    opens = score_N > before_N
    level_M = np.concatenate([score_N[opens], before_N[opens]])
    order = np.argsort(-level_M, kind="stable")
    level_M, count_M = level_M[order], np.cumsum(np.repeat([1, -1], opens.sum())[order])
    lowest_of_equals = np.append(np.diff(level_M) != 0, True)
    too_many = lowest_of_equals & (count_M > most)  # of thresholds just below the level
    return float(level_M[np.argmax(too_many)]) if too_many.any() else -np.inf


def episodes(above_N: Bool) -> tuple[Bool, Bool]:
    """Return (opened at this event, open at this event) from the alarms."""
    opened_N = above_N & ~_largest_before(above_N, False, CLOSE_AFTER)
    return opened_N, above_N | _largest_before(above_N, False, CLOSE_AFTER - 1)


def _largest_before(values_N: npt.NDArray[Any], nothing: float, count: int) -> npt.NDArray[Any]:
    """Return the largest of the `count` values before each value; `nothing` stands for values before the first."""
    padded = np.concatenate([np.full(count, nothing, values_N.dtype), values_N[:-1]])
    return np.lib.stride_tricks.sliding_window_view(padded, count).max(axis=1)
