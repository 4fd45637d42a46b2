"""Fills missing values, for detectors that cannot read them."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.series import Float64


def filled(values_ND: Float64) -> Float64:
    """Replace missing values by the last known value of the field, or by 0 before there is one."""
    there_ND = ~np.isnan(values_ND)
    last_ND = np.maximum.accumulate(np.where(there_ND, np.arange(len(values_ND))[:, None], -1), axis=0)
    return np.where(last_ND < 0, 0.0, np.take_along_axis(values_ND, np.maximum(last_ND, 0), axis=0))
