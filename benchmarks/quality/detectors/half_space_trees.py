"""river's half-space trees over min-max scaled fields, with river's defaults."""

from __future__ import annotations

import numpy as np
from river import anomaly, preprocessing

from benchmarks.quality.detectors.filling import filled
from benchmarks.quality.series import Float64, Series


def score(series: Series) -> Float64:
    """Low until the first window of 250 is full; a missing value stands at the last one known."""
    return trees_over(filled(series.values_ND))


def trees_over(values_ND: Float64) -> Float64:
    """Each event is scored and then learned."""
    scaler, trees = preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=42)
    score_N = np.full(len(values_ND), np.nan)
    for place, value_D in enumerate(values_ND):
        event = dict(enumerate(value_D.tolist()))
        scaler.learn_one(event)
        scaled = scaler.transform_one(event)
        score_N[place] = trees.score_one(scaled)
        trees.learn_one(scaled)
    return score_N
