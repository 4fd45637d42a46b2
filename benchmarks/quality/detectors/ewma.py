"""The residual from an exponentially weighted moving average, in units of its moving standard deviation; the largest of
all fields."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.series import Float64, Series

RATE = 0.05
"""The weight of the newest event: a memory of about 40 events."""


def score(series: Series) -> Float64:
    """Return the scores [N]: NaN for the first event and for events without any value."""
    score_N = np.full(len(series), np.nan)
    mean_D = np.full(series.values_ND.shape[1], np.nan)
    variance_D = np.zeros_like(mean_D)
    for place, value_D in enumerate(series.values_ND):
        mean_D = np.where(np.isnan(mean_D), value_D, mean_D)
        error_D = value_D - mean_D
        there_D = ~np.isnan(error_D)
        if place and there_D.any():
            score_N[place] = (np.abs(error_D) / np.sqrt(variance_D + 1e-12))[there_D].max()
        error_D = np.where(there_D, error_D, 0.0)
        mean_D = mean_D + RATE * error_D
        variance_D += RATE * there_D * (error_D**2 - variance_D)
    return score_N
