"""Robust random cut forest (rrcf): collusive displacement in 20 trees over the last 128 shingles of 4 events each."""

from __future__ import annotations

import numpy as np
import rrcf

from benchmarks.quality.detectors.filling import filled
from benchmarks.quality.series import Float64, Series

TREES, SIZE, SHINGLE = 20, 128, 4
SEED = 42


def score(series: Series) -> Float64:
    """Return the mean displacement over the trees [N]; NaN for the first `SHINGLE` - 1 events."""
    random = np.random.default_rng(SEED)
    values_ND = filled(series.values_ND)
    trees = [rrcf.RCTree(random_state=int(seed)) for seed in random.integers(2**31, size=TREES)]
    score_N = np.full(len(series), np.nan)
    for place in range(SHINGLE - 1, len(series)):
        shingle = values_ND[place - SHINGLE + 1 : place + 1].ravel()
        score_N[place] = np.mean([_displacement(tree, shingle, place) for tree in trees])
    return score_N


def _displacement(tree: rrcf.RCTree, shingle: Float64, place: int) -> float:
    if len(tree.leaves) >= SIZE:
        tree.forget_point(place - SIZE)
    tree.insert_point(shingle, index=place)
    return float(tree.codisp(place))
