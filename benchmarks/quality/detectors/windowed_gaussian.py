"""The distance from the mean of a long window, in standard deviations of that window; the largest of all fields.

NAB's windowed Gaussian gives the tail probability, which ranks events in the same order. The window is as long as
NAB's.
"""

from __future__ import annotations

import numpy as np

from benchmarks.quality.series import Float64, Series

WINDOW = 6400
LEAST = 10
"""Number of events before there is a score."""


def score(series: Series) -> Float64:
    """Return the scores [N]: NaN for the first `LEAST` events and for events without any value."""
    values_ND = series.values_ND
    there_ND = ~np.isnan(values_ND)
    first_D = np.take_along_axis(values_ND, there_ND.argmax(axis=0)[None], axis=0)  # NaN where none is known
    centred_ND = values_ND - first_D  # squares of large values lose their digits
    filled_ND = np.where(there_ND, centred_ND, 0.0)
    count_ND = np.maximum(_sum_before(there_ND.astype(np.float64)), 1.0)
    mean_ND = _sum_before(filled_ND) / count_ND
    variance_ND = np.maximum(_sum_before(filled_ND**2) / count_ND - mean_ND**2, 0.0)
    distance_ND = np.abs(centred_ND - mean_ND) / np.sqrt(variance_ND + 1e-12)
    score_N = np.where(there_ND, distance_ND, -np.inf).max(axis=1)
    score_N[:LEAST] = np.nan
    return np.where(np.isinf(score_N), np.nan, score_N)


def _sum_before(values_ND: Float64) -> Float64:
    """Return the sum over the `WINDOW` events before each event."""
    total_ND = np.concatenate([np.zeros((1, values_ND.shape[1])), np.cumsum(values_ND, axis=0)])
    place_N = np.arange(len(values_ND))
    return total_ND[place_N] - total_ND[np.maximum(place_N - WINDOW, 0)]
