"""From evidence to a p-value: each stream's own distribution of its evidence, with a tail fitted beyond it.

A stream keeps, of each kind of evidence, how many of its events reached each of `EDGES` (an empirical distribution that
forgets), the mean excess over the level that `TAIL` of its events pass, and how its excesses cluster. All start from what
is shared, which weighs as much as `PRIOR_EVENTS` events. Counting places the level to within a bin. Where many times as
many events pass it as should, because they crowd in one part of the bin, it is raised by stochastic approximation
(Robbins and Monro 1951): in the long run no more than `CROWDED` of a stream's events lie beyond it, whatever their
distribution. Beyond it stands the generalised Pareto law (Pickands 1975), its shape fitted on many streams by
probability-weighted moments (Hosking and Wallis 1987). Past the largest excess of the fit it extrapolates, and says so.

Extremes come in runs: a moving average that is high stays high for a while, and an alarm is one whether it lasts for one
event or for fifty. An alarm budget counts runs. So a p-value here is the probability, per event, that a run at least this
extreme begins: the event's own, times the extremal index (Leadbetter 1983), the share of the excesses that begin a run,
estimated by the runs method (Smith and Weissman 1994). Below the level, where there are no runs, the factor fades to 1.

Shapes: B rows, J kinds of evidence, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.errors import or_zero, sums
from anomaly_daemon.detection.observation import Float64, Int64

Float32 = npt.NDArray[np.float32]

TAIL = 0.02
"""The share of events past the tail's level."""

EDGES = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0])
"""Lower edges of the bins of a distribution. Evidence is a logarithm, so they reach from nothing to some 400 times the
ordinary. The last bin is open."""

BINS = len(EDGES)
WIDTHS = np.append(np.diff(EDGES), 1.0)

CROWDED = 0.1
"""The most events that may pass the level for as long as one likes."""

OFFSET_UNIT = 0.05
"""The offset moves as if the mean excess were at least this."""

OFFSET_RANGE = 0.5
"""The widest bin but the last three."""

PRIOR_EVENTS = 30.0
"""The shared distribution weighs as much as this many events of the stream."""

PRIOR_TAIL_EVENTS = 500.0
"""The shared mean excess and extremal index weigh as much as this many events of the stream: 10 excesses."""

MEMORY = 10.0
"""A distribution remembers this many times the events that the normaliser does: only one in fifty says anything of the
tail."""

EXCESS_FLOOR = 1e-3
TAIL_WINSOR = 20.0
"""An excess of more than this many mean excesses moves their mean as if it were that many."""

RUN_EVENTS = 10.0
"""Events without an excess that end a run of them."""

EXTREMAL_FLOOR = 0.01

FASTEST = 0.25
"""The most that one excess moves what is known of the excesses."""


class Method(IntEnum):
    """How a p-value was obtained."""

    BODY = 0
    TAIL = 1
    EXTRAPOLATED = 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """What all streams share, for each of J kinds of evidence."""

    reached_JK: Float64
    """The share of events that reach each of `EDGES`; the first is 1."""
    excess_J: Float64
    """Mean excess over the level."""
    shape_J: Float64
    """The tail's shape: 0 is exponential."""
    largest_J: Float64
    """The largest excess in the fit, as a multiple of its stream's mean excess."""
    extremal_J: Float64
    """The share of excesses that begin a run."""
    samples: int
    """Events in the fit; 0 for the assumed calibration of `assumed`."""

    @property
    def kinds(self) -> int:
        return len(self.excess_J)


@dataclass(frozen=True, slots=True)
class Known:
    """What one stream has shown of its evidence; [B, J] each but `reached` [B, J, K] and `count` [B]."""

    reached: Float32
    """Events that reached each of `EDGES`, the older the less of them."""
    offset: Float64
    """How far the level is above where even bins have it."""
    excess: Float64
    extremal: Float64
    since: Float64
    """Events since the last excess."""
    count: Float64

    @classmethod
    def initial(cls, rows: int, shared: Calibration) -> Known:
        """Rows that have shown nothing: the shared values."""
        return cls(
            np.tile((PRIOR_EVENTS * shared.reached_JK).astype(np.float32), (rows, 1, 1)),
            np.zeros((rows, shared.kinds)),
            np.tile(shared.excess_J, (rows, 1)),
            np.tile(shared.extremal_J, (rows, 1)),
            np.full((rows, shared.kinds), RUN_EVENTS),
            np.zeros(rows),
        )


def level(known: Known) -> Float64:
    """What `TAIL` of a stream's events pass, [B, J]."""
    target_BJ = TAIL * known.reached[:, :, 0].astype(np.float64)
    place_BJ = np.maximum((known.reached > target_BJ[:, :, None]).sum(axis=2) - 1, 0)
    here_BJ, next_BJ = _edges(known.reached, place_BJ)
    share_BJ = (here_BJ - target_BJ) / np.maximum(here_BJ - next_BJ, 1e-12)
    even_BJ = EDGES[place_BJ] + WIDTHS[place_BJ] * np.clip(share_BJ, 0.0, 1.0)
    return np.asarray(np.maximum(even_BJ + known.offset, 0.0))


def _edges(reached_BJK: Float32, place_BJ: Int64) -> tuple[Float64, Float64]:
    """Events that reached the lower and the upper edge of a bin, [B, J] each; none reached the end of the last."""
    flat = np.ascontiguousarray(reached_BJK).reshape(-1)
    at_BJ = place_BJ + BINS * np.arange(place_BJ.size).reshape(place_BJ.shape)
    last_BJ = place_BJ == BINS - 1
    return flat[at_BJ].astype(np.float64), np.where(last_BJ, 0.0, flat[at_BJ + ~last_BJ])


def p_values(shared: Calibration, known: Known, level_BJ: Float64, u_BJ: Float64) -> tuple[Float64, Float64]:
    """P(a run at least this extreme begins) and how it was obtained (`Method`), [B, J] each. NaN evidence stays NaN."""
    over_BJ = u_BJ - level_BJ
    beyond_BJ = over_BJ > 0
    p_BJ = shares(known, u_BJ)
    p_BJ = np.maximum(p_BJ, TAIL) ** (1.0 + np.log(known.extremal) / np.log(TAIL))
    for j in range(shared.kinds):
        tail = TAIL * survival(np.maximum(over_BJ[:, j], 0.0), known.excess[:, j], shared.shape_J[j])
        p_BJ[:, j] = np.where(beyond_BJ[:, j], tail * known.extremal[:, j], p_BJ[:, j])
    method_BJ = np.where(beyond_BJ, float(Method.TAIL), float(Method.BODY))
    method_BJ[over_BJ > shared.largest_J * known.excess] = Method.EXTRAPOLATED
    return np.where(np.isnan(u_BJ), np.nan, p_BJ), method_BJ


def shares(known: Known, u_BJ: Float64) -> Float64:
    """The share of the stream's events that reached this evidence, [B, J]: even within a bin."""
    u_BJ = or_zero(u_BJ)
    place_BJ = np.searchsorted(EDGES, u_BJ, side="right") - 1
    here_BJ, next_BJ = _edges(known.reached, place_BJ)
    into_BJ = np.minimum((u_BJ - EDGES[place_BJ]) / WIDTHS[place_BJ], 1.0)
    return np.asarray((here_BJ - into_BJ * (here_BJ - next_BJ)) / known.reached[:, :, 0])


def survival(excess: Float64, mean_excess: Float64, shape: float) -> Float64:
    """P(excess beyond this) of a generalised Pareto law with this mean and shape (below 1)."""
    scale = np.maximum(mean_excess * (1.0 - shape), 1e-12)
    if shape < 1e-6:
        return np.exp(-excess / scale)
    return np.asarray((1.0 + shape * excess / scale) ** (-1.0 / shape))


def harmonic(p_BJ: Float64, odds_J: Float64) -> Float64:
    """One p-value of several, [B]: their harmonic mean, weighted by prior odds (Good 1958; Wilson 2019). NaN ones are left
    out; NaN where all are. It needs no independence, and is led by the least of them."""
    known_BJ = ~np.isnan(p_BJ)
    weight_BJ = known_BJ * odds_J
    surprise_BJ = weight_BJ / np.where(known_BJ, np.maximum(p_BJ, 1e-300), 1.0)
    total_B, surprise_B = sums(weight_BJ, 1), sums(surprise_BJ, 1)
    return np.where(total_B > 0, total_B / np.where(total_B > 0, surprise_B, 1.0), np.nan)


def update(known: Known, level_BJ: Float64, u_BJ: Float64, memory: float, pace_B: Float64) -> Known:
    """What is known after this evidence, which the `level` was not yet told of. `memory`: the normaliser's. `pace_B` in
    0..1 slows a row down (an open episode must not teach)."""
    there_BJ = ~np.isnan(u_BJ)
    lasting = MEMORY * memory
    pace_BJ = there_BJ * pace_B[:, None]
    over_BJ = np.where(there_BJ, u_BJ - level_BJ, 0.0)
    beyond_BJ = over_BJ > 0
    pace_BJ1 = pace_BJ[:, :, None].astype(np.float32)
    came_BJK = or_zero(u_BJ)[:, :, None] >= EDGES
    reached = known.reached + pace_BJ1 * (came_BJK - known.reached * np.float32(1.0 / lasting))
    count = known.count + there_BJ.any(axis=1) * (pace_B > 0)
    rate_B = np.maximum(1.0 / (PRIOR_TAIL_EVENTS + count), 1.0 / lasting)
    # they move only where there is an excess, and then by as much as makes up for its rarity
    rate_BJ = np.where(beyond_BJ, np.minimum(rate_B[:, None] * pace_BJ / TAIL, FASTEST), 0.0)
    told_BJ = np.minimum(over_BJ, TAIL_WINSOR * known.excess)
    step_BJ = rate_B[:, None] * pace_BJ * np.maximum(known.excess, OFFSET_UNIT) * (beyond_BJ / CROWDED - 1.0)
    return Known(
        reached,
        np.clip(known.offset + step_BJ, 0.0, OFFSET_RANGE),
        np.maximum(known.excess + rate_BJ * (told_BJ - known.excess), EXCESS_FLOOR),
        np.maximum(known.extremal + rate_BJ * ((known.since >= RUN_EVENTS) - known.extremal), EXTREMAL_FLOOR),
        np.where(beyond_BJ, 0.0, known.since + there_BJ),
        count,
    )


def assumed(kinds: int) -> Calibration:
    """A calibration for evidence nobody has measured yet: what fitting begins from. Not for production."""
    reached_K, ones = np.exp(-EDGES / 0.5), np.ones(kinds)
    return Calibration(np.tile(reached_K, (kinds, 1)), 0.5 * ones, 0.0 * ones, 0.0 * ones, ones, 0)
