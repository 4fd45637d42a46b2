"""From evidence to a p-value: each stream's own location, spread and tail, a shape shared by all.

The quantiles of the body and the tail's shape are fitted once on held-out evidence of many streams (`fit`). Each stream
then keeps its own location and spread, the level that `TAIL` of its events pass, and by how much they pass it on average.
All four start from the shared values and forget. The level follows its quantile by stochastic approximation (Robbins and
Monro 1951), so in the long run `TAIL` of a stream's events lie beyond it whatever their distribution. Beyond it stands the
generalised Pareto law (Pickands 1975), its shape fitted by probability-weighted moments (Hosking and Wallis 1987). Past
the largest excess of the fit it extrapolates, and says so.

Shapes: B rows, J kinds of evidence, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from anomaly_daemon.detection.observation import Float64, Int64

TAIL = 0.02
"""The share of events past the tail's threshold."""

PRIOR_EVENTS = 20.0
"""The shared location and spread weigh as much as this many events of the stream."""

PRIOR_LEVEL_EVENTS = 200.0
"""The shared level of the tail weighs as much as this many events of the stream."""

PRIOR_TAIL_EVENTS = 500.0
"""The shared mean excess weighs as much as this many events of the stream: 10 excesses."""

TAIL_MEMORY = 4.0
"""The tail forgets this many times more slowly: only one event in fifty says anything of it, and a tail learned from few
excesses is noisy, which makes alarms too many, not too few."""

LEVEL_FLOOR = 0.1
"""The tail's level is at least this many spreads above the location."""

SHAPE_RANGE = (0.0, 0.4)
"""Of the fitted tail: evidence is a logarithm, so its tail is near exponential; a heavier one is noise of the fit."""

SPREAD_FLOOR = 1e-3
BODY = np.linspace(0.0, 1.0 - TAIL, 99)
WINSOR = 6.0
"""Evidence further than this many spreads off moves the stream's location and spread as if it were this far."""

TAIL_WINSOR = 20.0
"""And an excess of more than this many mean excesses moves their mean as if it were that many."""


class Method(IntEnum):
    """How a p-value was obtained."""

    BODY = 0
    TAIL = 1
    EXTRAPOLATED = 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """What all streams share, for each of J kinds of evidence."""

    location_J: Float64
    spread_J: Float64
    """Mean absolute deviation from the location."""
    body_JQ: Float64
    """Quantiles `BODY` of the standardised evidence; the last one is where a stream's tail level starts."""
    excess_J: Float64
    """Mean excess over the level, in spreads."""
    shape_J: Float64
    """The tail's shape: 0 is exponential."""
    largest_J: Float64
    """The largest excess in the fit, as a multiple of its stream's mean excess."""
    samples: int
    """Events in the fit; 0 for the assumed calibration of `assumed`."""

    @property
    def kinds(self) -> int:
        return len(self.location_J)


@dataclass(frozen=True, slots=True)
class Known:
    """What one stream has shown of its evidence; [B, J] each but `count` [B]."""

    location: Float64
    spread: Float64
    level: Float64
    """Spreads above the location that `TAIL` of the events pass."""
    excess: Float64
    """By how much they pass it on average."""
    count: Float64

    @classmethod
    def initial(cls, rows: int, shared: Calibration) -> Known:
        """Rows that have shown nothing: the shared values."""

        def spread_out(value_J: Float64) -> Float64:
            return np.tile(value_J, (rows, 1))

        return cls(
            spread_out(shared.location_J),
            spread_out(shared.spread_J),
            spread_out(shared.body_JQ[:, -1]),
            spread_out(shared.excess_J),
            np.zeros(rows),
        )


def standardise(known: Known, u_BJ: Float64) -> Float64:
    """Evidence in units of the stream's own spread, [B, J]."""
    return (u_BJ - known.location) / np.maximum(known.spread, SPREAD_FLOOR)


def p_values(shared: Calibration, known: Known, u_BJ: Float64) -> tuple[Float64, Float64]:
    """P(evidence at least this large) and how it was obtained (`Method`), [B, J] each. NaN evidence stays NaN."""
    v_BJ = standardise(known, u_BJ)
    over_BJ = v_BJ - known.level
    p_BJ = np.empty_like(v_BJ)
    for j in range(shared.kinds):
        top = shared.body_JQ[j, -1]
        within = np.where(v_BJ[:, j] > 0, v_BJ[:, j] * (top / known.level[:, j]), v_BJ[:, j])
        body = 1.0 - np.interp(within, shared.body_JQ[j], BODY)
        tail = TAIL * survival(np.maximum(over_BJ[:, j], 0.0), known.excess[:, j], shared.shape_J[j])
        p_BJ[:, j] = np.where(over_BJ[:, j] > 0, tail, body)
    method_BJ = np.where(over_BJ > 0, float(Method.TAIL), float(Method.BODY))
    method_BJ[over_BJ > shared.largest_J * known.excess] = Method.EXTRAPOLATED
    return np.where(np.isnan(v_BJ), np.nan, p_BJ), method_BJ


def survival(excess: Float64, mean_excess: Float64, shape: float) -> Float64:
    """P(excess beyond this) of a generalised Pareto law with this mean and shape (below 1)."""
    scale = np.maximum(mean_excess * (1.0 - shape), 1e-12)
    if shape < 1e-6:
        return np.exp(-excess / scale)
    return np.asarray((1.0 + shape * excess / scale) ** (-1.0 / shape))


def update(shared: Calibration, known: Known, u_BJ: Float64, memory: float, pace_B: Float64) -> Known:
    """What is known after this evidence. `pace_B` in 0..1 slows a row down (an open episode must not teach)."""
    there_BJ = ~np.isnan(u_BJ)
    v_BJ = np.where(there_BJ, standardise(known, u_BJ), 0.0)
    mild_BJ = np.clip(v_BJ, -WINSOR, WINSOR)
    over_BJ = np.minimum(v_BJ - known.level, TAIL_WINSOR * known.excess)
    beyond = over_BJ > 0
    count = known.count + there_BJ.any(axis=1) * (pace_B > 0)
    rate = np.maximum(1.0 / (PRIOR_EVENTS + count), 1.0 / memory) * pace_B
    level_rate, tail_rate = (
        np.maximum(1.0 / (prior + count), 1.0 / (TAIL_MEMORY * memory)) * pace_B
        for prior in (PRIOR_LEVEL_EVENTS, PRIOR_TAIL_EVENTS)
    )
    rate_BJ, level_rate_BJ, tail_rate_BJ = (one[:, None] * there_BJ for one in (rate, level_rate, tail_rate))
    spread = np.maximum(known.spread, SPREAD_FLOOR)
    # where the density at the level is TAIL / excess, as under an exponential tail, this is the best step there is
    level = known.level + level_rate_BJ * known.excess * (beyond / TAIL - 1.0)
    # the mean excess moves only where there is one, and then by as much as TAIL makes up for their rarity
    excess = known.excess + np.where(beyond, np.minimum(tail_rate_BJ / TAIL, 0.25) * (over_BJ - known.excess), 0.0)
    return Known(
        known.location + rate_BJ * mild_BJ * spread,
        known.spread + rate_BJ * (np.abs(mild_BJ) * spread - known.spread),
        np.maximum(level, LEVEL_FLOOR),
        np.maximum(excess, SPREAD_FLOOR),
        count,
    )


def assumed(kinds: int) -> Calibration:
    """A calibration for evidence nobody has measured yet: what `fit` begins from. Not for production."""
    body_Q = np.linspace(-1.5, 3.0, len(BODY))
    ones = np.ones(kinds)
    return Calibration(0.7 * ones, 0.5 * ones, np.tile(body_Q, (kinds, 1)), ones, 0.0 * ones, 0.0 * ones, 0)


def fit(streams: Sequence[Float64], memory: float, grace: int, first: Sequence[int] = ()) -> Calibration:
    """The shared calibration of held-out evidence: one [T, J] array a stream, NaN where an event was not scored.

    Each stream is standardised by the causal recurrences of `update`, as it will be when it runs. Its first `grace`
    events only warm up, and so do those before its place in `first`. Raises ValueError with fewer than 1,000 left.
    """
    kinds = streams[0].shape[1]
    first = first or [0] * len(streams)
    everything = np.concatenate(streams)
    everything = everything[~np.isnan(everything).any(axis=1)]
    location = np.median(everything, axis=0)
    spread = np.maximum(np.mean(np.abs(everything - location), axis=0), SPREAD_FLOOR)
    shared = replace(assumed(kinds), location_J=location, spread_J=spread)
    first_S = np.asarray(first)
    v_STJ, _ = _replayed(streams, shared, memory, grace, first_S)
    events = int((~np.isnan(v_STJ[:, :, 0])).sum())
    if events < 1000:
        raise ValueError(f"{events} held-out events past the grace period: at least 1,000 are needed to calibrate")
    body_JQ, excess_J = _typical(v_STJ)
    shared = replace(shared, body_JQ=body_JQ, excess_J=excess_J)
    _, multiple_STJ = _replayed(streams, shared, memory, grace, first_S)
    shape, largest = zip(*(_tail(multiple_STJ[:, :, j].ravel()) for j in range(kinds)), strict=True)
    return replace(shared, shape_J=np.asarray(shape), largest_J=np.asarray(largest), samples=events)


def _replayed(
    streams: Sequence[Float64], shared: Calibration, memory: float, grace: int, first_S: Int64
) -> tuple[Float64, Float64]:
    """Evidence, standardised, and its excess as a multiple of its stream's mean excess; [S, T, J] each, NaN where an
    event does not count."""
    longest = max(len(u_TJ) for u_TJ in streams)
    v_STJ = np.full((len(streams), longest, shared.kinds), np.nan)
    for place, u_TJ in enumerate(streams):
        v_STJ[place, : len(u_TJ)] = u_TJ
    multiple_STJ = np.full_like(v_STJ, np.nan)
    known, pace = Known.initial(len(streams), shared), np.ones(len(streams))
    for t in range(longest):
        u_SJ = v_STJ[:, t].copy()
        v_SJ = standardise(known, u_SJ)
        counts = (known.count >= grace) & (t >= first_S) & ~np.isnan(v_SJ).any(axis=1)
        v_STJ[:, t] = np.where(counts[:, None], v_SJ, np.nan)
        multiple_STJ[counts, t] = ((v_SJ - known.level) / known.excess)[counts]
        known = update(shared, known, u_SJ, memory, pace)
    return v_STJ, multiple_STJ


def _typical(v_STJ: Float64) -> tuple[Float64, Float64]:
    """Quantiles and mean excess of the typical stream: medians over streams, not over events, because a stream with a
    heavier tail soon raises its own level, and one with a lighter tail lowers it slowly."""
    kinds = v_STJ.shape[2]
    known = [v_TJ[~np.isnan(v_TJ[:, 0])] for v_TJ in v_STJ]
    enough = [v_TJ for v_TJ in known if len(v_TJ) >= 5 / TAIL] or [np.concatenate(known)]
    quantiles_SQJ = np.stack([np.quantile(v_TJ, BODY, axis=0) for v_TJ in enough])
    over_SJ = np.stack(
        [np.maximum(v - q[-1], 0.0).mean(axis=0) / TAIL for v, q in zip(enough, quantiles_SQJ, strict=True)]
    )
    body_JQ = np.ascontiguousarray(np.median(quantiles_SQJ, axis=0).T)
    body_JQ[:, -1] = np.maximum(body_JQ[:, -1], LEVEL_FLOOR)
    return body_JQ, np.maximum(np.median(over_SJ, axis=0).reshape(kinds), SPREAD_FLOOR)


def _tail(multiple_N: Float64) -> tuple[float, float]:
    """Shape and largest of the excesses, by probability-weighted moments."""
    excess = np.sort(multiple_N[multiple_N > 0])
    if len(excess) < 10:
        return SHAPE_RANGE[0], 0.0
    mean = float(excess.mean())
    weight = 1.0 - (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    moment = float((weight * excess).mean())
    shape = 2.0 - mean / (mean - 2.0 * moment) if mean > 2.0 * moment else SHAPE_RANGE[1]
    return float(np.clip(shape, *SHAPE_RANGE)), float(excess[-1])
