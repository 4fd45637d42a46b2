"""A streaming window PCA: the squared residual of the latest window outside the main components of the windows before
it.

A window is the latest events of all fields, laid out as one row. It is projected on components that were fitted on past
windows only. They are fitted again each time the past has grown by a tenth. The residual is in units of its mean over
that past.

Shapes: N events, D fields, W values of a window, K main components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.quality.detectors.filling import filled
from benchmarks.quality.series import Float64, Series

WIDTH = 32
"""Values of a window, about: 32 events of one field, 16 of two, and so on, but at least `LEAST_EVENTS` events."""
LEAST_EVENTS = 4
VARIANCE = 0.9
"""The share of the past's variance that the main components hold."""

FIRST_FIT = 100
REFIT = 1.1
MOST_WINDOWS = 5000
"""Most windows of the past that a fit uses, evenly spread over it, so that the cost of a fit is bounded."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What was fitted on past windows, and a new window is compared with: mean, scale and main components of the
    windows, and the mean of their squared residual."""

    mean_W: Float64
    scale_W: Float64
    main_KW: Float64
    usual: float

    def residual(self, window_NW: Float64) -> Float64:
        """Return the mean squared residual of each window outside the main components [N], in units of `usual`."""
        centred_NW = (window_NW - self.mean_W) / self.scale_W
        outside_NW = centred_NW - centred_NW @ self.main_KW.T @ self.main_KW
        return (outside_NW**2).mean(axis=1) / self.usual


def score(series: Series) -> Float64:
    """Return the scores [N]: NaN until the first fit."""
    values_ND = filled(series.values_ND)
    events = max(LEAST_EVENTS, WIDTH // values_ND.shape[1])
    window_NW = windows(values_ND, events)
    score_N, start = np.full(len(series), np.nan), FIRST_FIT + events
    while start < len(series):
        stop = int(start * REFIT) + 1
        score_N[start:stop] = fit(window_NW[events:start]).residual(window_NW[start:stop])
        start = stop
    return score_N


def windows(values_ND: Float64, events: int) -> Float64:
    """Return the window that ends at each event [N, W]. The first event stands for those before it."""
    padded_ND = np.concatenate([np.repeat(values_ND[:1], events - 1, axis=0), values_ND])
    return np.lib.stride_tricks.sliding_window_view(padded_ND, events, axis=0).reshape(len(values_ND), -1)


def fit(past_NW: Float64) -> Fit:
    """Return the fit of these windows."""
    some_NW = past_NW[:: max(1, -(-len(past_NW) // MOST_WINDOWS))]
    mean_W, scale_W = some_NW.mean(axis=0), np.maximum(some_NW.std(axis=0), 1e-6)
    standard_NW = (some_NW - mean_W) / scale_W
    variance_W, axes_WW = np.linalg.eigh(standard_NW.T @ standard_NW)
    variance_W, axes_WW = np.maximum(variance_W[::-1], 0.0), axes_WW[:, ::-1]
    held_W = np.cumsum(variance_W) / max(float(variance_W.sum()), 1e-12)
    main_KW = axes_WW[:, : int(np.searchsorted(held_W, VARIANCE)) + 1].T
    blank = Fit(mean_W, scale_W, main_KW, 1.0)
    return Fit(mean_W, scale_W, main_KW, max(float(blank.residual(some_NW).mean()), 1e-6))
