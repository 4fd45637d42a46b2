"""The shared calibration, fitted to the held-out evidence of many streams.

Shapes: S streams at one step, T events of one stream, J kinds of evidence, N events of all streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anomaly_daemon.detection.bins import EDGES
from anomaly_daemon.detection.calibration import (
    EXCESS_FLOOR,
    EXTREMAL_FLOOR,
    PRIOR_EVENTS,
    RUN_EVENTS,
    TAIL,
    Calibration,
    Shared,
    assumed,
    begin,
    columns,
    judge,
)
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import StateLayout

SHAPE_RANGE = (0.0, 0.4)
"""Limits of the fitted shape of the tail. Evidence is a logarithm, so its tail is near exponential; a heavier one is
noise of the fit."""


def fit(
    streams: Sequence[Float64], memory: float, grace: int, first: Sequence[int] = (), weight: float = PRIOR_EVENTS
) -> Calibration:
    """Fit the shared calibration to held-out evidence: one [T, J] array a stream, NaN where an event was not scored.

    Each stream is run through the causal recurrences of `judge`, as in production. Its first `grace` scored events only
    warm these up, and so do the events before the stream's position in `first`. The shared distribution weighs as much
    as `weight` events of a stream. Raises ValueError if fewer than 1,000 events are left.
    """
    kinds = streams[0].shape[1]
    counted = _counted(streams, grace, first or [0] * len(streams))
    events = sum(int((~np.isnan(u_TJ).all(axis=1)).sum()) for u_TJ in counted)
    refuse_too_few(events, grace)
    shared = _population(counted)
    multiple_NJ = np.concatenate(_replayed(streams, counted, shared, memory, weight))
    shape, largest = zip(*(_tail(multiple_NJ[:, j]) for j in range(kinds)), strict=True)
    return replace(shared, shape_J=np.asarray(shape), largest_J=np.asarray(largest), samples=events)


def refuse_too_few(events: int, grace: int) -> None:
    """Raise ValueError if this number of events is too small to fit a tail."""
    if events < 1000:
        raise ValueError(
            f"{events:,} held-out events past a stream's first {grace} (detection.grace_events), 1,000 are needed"
        )


def _counted(streams: Sequence[Float64], grace: int, first: Sequence[int]) -> list[Float64]:
    """Return the evidence that counts, one [T, J] array a stream; NaN elsewhere."""
    counted = []
    for u_TJ, start in zip(streams, first, strict=True):
        warm_T = np.cumsum(~np.isnan(u_TJ).all(axis=1)) > grace
        warm_T[:start] = False
        counted.append(np.where(warm_T[:, None], u_TJ, np.nan))
    return counted


def _population(counted: Sequence[Float64]) -> Calibration:
    """Return the distribution assumed for a new stream: the mixture of these streams' own, each with the same weight.
    The level of the mixture is above that of most of them, so a new stream is judged mildly until it has shown its own
    distribution."""
    shared = assumed(counted[0].shape[1])
    for j in range(shared.kinds):
        own = [u_TJ[~np.isnan(u_TJ[:, j]), j] for u_TJ in counted]
        enough = [u_T for u_T in own if len(u_T) >= 5 / TAIL] or [np.concatenate(own)]
        if not len(enough[0]):
            continue  # no event has this kind of evidence: keep the assumed values
        shared.reached_JK[j] = np.mean([(u_T[:, None] >= EDGES).mean(axis=0) for u_T in enough], axis=0)
        shared.excess_J[j] = max(float(np.mean([_excess(u_T) for u_T in enough])), EXCESS_FLOOR)
        shared.extremal_J[j] = np.median([_extremal(u_T) for u_T in enough])
    return shared


def _excess(u_T: Float64) -> float:
    """The mean excess over the stream's own level."""
    return float(np.mean(np.maximum(u_T - np.quantile(u_T, 1.0 - TAIL), 0.0))) / TAIL


def _extremal(u_T: Float64) -> float:
    """The share of a stream's exceedances that begin a run."""
    place = np.flatnonzero(u_T > np.quantile(u_T, 1.0 - TAIL))
    return max(float((np.diff(place, prepend=-np.inf) > RUN_EVENTS).mean()), EXTREMAL_FLOOR) if len(place) else 1.0


def _replayed(
    streams: Sequence[Float64], counted: Sequence[Float64], shared: Calibration, memory: float, weight: float
) -> list[Float64]:
    """Return each excess as a multiple of its stream's mean excess at that time, one [T, J] array a stream, in any
    order; NaN where an event does not count."""
    ranked = sorted(zip(streams, counted, strict=True), key=lambda pair: -len(pair[0]))
    multiples = [np.full_like(u_TJ, np.nan) for u_TJ, _ in ranked]
    rows = StateLayout(*columns(shared.kinds)).blank(len(ranked))
    begin(rows, shared, slice(None), events=weight)
    tails, lengths = Shared.of(shared, weight), np.array([len(u_TJ) for u_TJ, _ in ranked])
    for t in range(lengths[0]):
        live = int((lengths > t).sum())
        going = rows.part(slice(live))
        u_SJ, counts_SJ = (np.stack([pair[at][t] for pair in ranked[:live]]) for at in range(2))
        excess_SJ = going["cal_excess"].copy()
        level_SJ = judge(going, tails, u_SJ, memory, np.ones(live)).level
        multiple_SJ = np.where(np.isnan(counts_SJ), np.nan, (u_SJ - level_SJ) / excess_SJ)
        for multiple_TJ, multiple_J in zip(multiples, multiple_SJ, strict=False):
            multiple_TJ[t] = multiple_J
    return multiples


def _tail(multiple_N: Float64) -> tuple[float, float]:
    """Return the tail's shape, by probability-weighted moments, and the largest excess."""
    excess = np.sort(multiple_N[multiple_N > 0])
    if len(excess) < 10:
        return SHAPE_RANGE[0], 0.0
    mean = float(excess.mean())
    weight = 1.0 - (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    moment = float((weight * excess).mean())
    shape = 2.0 - mean / (mean - 2.0 * moment) if mean > 2.0 * moment else SHAPE_RANGE[1]
    return float(np.clip(shape, *SHAPE_RANGE)), float(excess[-1])
