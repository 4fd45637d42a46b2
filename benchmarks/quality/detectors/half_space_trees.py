"""river's half-space trees over min-max scaled fields, with river's defaults."""

from __future__ import annotations

import numpy as np
from river import anomaly, preprocessing

from benchmarks.quality.detectors.filling import filled
from benchmarks.quality.series import Float64, Series


def score(series: Series) -> Float64:
    """Return the scores [N], which are low until the first window of 250 events is full. A missing value is replaced by
    the last known one."""
    return trees_over(filled(series.values_ND))


def trees_over(values_ND: Float64) -> Float64:
    """Score each event, then learn it."""
    scaler, trees = preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=42)
    score_N = np.full(len(values_ND), np.nan)
    for place, value_D in enumerate(values_ND):
        event = dict(enumerate(value_D.tolist()))
        scaler.learn_one(event)
        scaled = scaler.transform_one(event)
        score_N[place] = trees.score_one(scaled)
        trees.learn_one(scaled)
    return score_N
