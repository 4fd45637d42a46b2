"""streamad's KNN-CAD and SPOT, with their defaults. They read one field only."""

from __future__ import annotations

from typing import Any

import numpy as np
from streamad.model import KNNDetector, SpotDetector

from benchmarks.quality.detectors.filling import filled
from benchmarks.quality.series import Float64, Series


def knn(series: Series) -> Float64:
    """Score by the distances to the nearest windows of the last 50 events."""
    return _scores(KNNDetector(), series)


def spot(series: Series) -> Float64:
    """Score by how far a value is past a peaks-over-threshold limit, above or below."""
    return _scores(SpotDetector(), series)


def _scores(detector: Any, series: Series) -> Float64:
    """Return the scores [N], NaN where the detector gives none yet."""
    told = [detector.fit_score(value_1) for value_1 in filled(series.values_ND)]
    return np.array([np.nan if score is None else float(score) for score in told])
