"""pysad's KitNet and LODA, with their defaults and a fixed seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from pysad.models import LODA, KitNet

from benchmarks.quality.detectors.filling import filled
from benchmarks.quality.series import Float64, Series

SEED = 42


def kitnet(series: Series) -> Float64:
    """Score with an ensemble of autoencoders, which is trained on 1,100 events."""
    return _scores(KitNet(random_state=SEED), series)


def loda(series: Series) -> Float64:
    """Score with histograms of random projections."""
    return _scores(LODA(random_state=SEED), series)


def _scores(detector: Any, series: Series) -> Float64:
    """Score and learn each event in order."""
    return np.array([float(np.squeeze(detector.fit_score_partial(value_D))) for value_D in filled(series.values_ND)])
