"""Calibration: turns evidence into a p-value by each stream's own distribution of that evidence, with a fitted tail.

For each kind of evidence a stream keeps how many of its events reached each of `EDGES` (an empirical distribution that
forgets), the mean excess over the level that `TAIL` of its events pass, and how its excesses cluster. All of them start
from the shared distribution, which weighs as much as a number of the stream's own events. Counting determines the level
to within a bin. If many times as many events pass the level as should, because they crowd in one part of the bin, it is
raised by stochastic approximation (Robbins and Monro 1951): in the long run no more than `CROWDED` of a stream's events
lie beyond it, whatever their distribution. Beyond the level a generalised Pareto distribution is used (Pickands 1975),
whose shape was fitted on many streams by probability-weighted moments (Hosking and Wallis 1987). Past the largest
excess of that fit a p-value is extrapolated and marked as such.

Extremes come in runs: a moving average that is high stays high for a while, and an alarm is one alarm whether it lasts
for one event or for fifty. An alarm budget counts runs. A p-value here is therefore the probability, per event, that a
run at least this extreme begins: the event's own probability times the extremal index (Leadbetter 1983), which is the
share of the excesses that begin a run, estimated by the runs method (Smith and Weissman 1994). Below the level, where
there are no runs, the factor fades to 1. No run is rarer than the stream has shown it to be (`recurring`).

Shapes: B rows, J kinds of evidence, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from math import isnan, log, nan
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import bins, elementary, recurring
from anomaly_daemon.detection.bins import BINS, EDGES, WIDTHS
from anomaly_daemon.detection.errors import known
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.rules import SHARED_EVENTS
from anomaly_daemon.detection.state import Column, Rows, StateLayout

Which = npt.NDArray[np.bool_] | slice

TAIL = 0.02
"""The share of events that pass the level at which the tail begins."""
LOG_TAIL = log(TAIL)

CROWDED = 0.1
"""The largest share of events that may pass the level in the long run."""

OFFSET_UNIT = 0.05
"""The offset of the level moves as if the mean excess were at least this."""

OFFSET_RANGE = 0.5
"""The largest offset: the width of the widest bin other than the last three."""

PRIOR_EVENTS = SHARED_EVENTS
"""The shared distribution weighs as much as this many events of the stream, unless the operator sets another number."""

PRIOR_TAIL_RATIO = 50.0 / 3.0
"""How many times as much the shared mean excess and extremal index weigh: as much as 500 events, or 10 excesses."""

MEMORY = 10.0
"""A distribution remembers this many times the events that the normaliser does, because only one event in fifty reaches
the tail."""

EXCESS_FLOOR = 1e-3
TAIL_WINSOR = 20.0
"""An excess of more than this many mean excesses changes the mean as if it were that many."""

RUN_EVENTS = 10.0
"""Number of events without an excess that end a run of excesses."""

EXTREMAL_FLOOR = 0.01

KEPT = 500.0
"""The number of events that a distribution weighs after a new level was accepted. It is not 0, because which evidence is
usual does not change with which values are usual."""

FASTEST = 0.25
"""The largest rate at which one excess changes the mean excess and the extremal index."""


class Method(IntEnum):
    """How a p-value was obtained."""

    BODY = 0
    """Counted: either events, or runs that reached about as far."""
    TAIL = 1
    EXTRAPOLATED = 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """The distributions that all streams share, for each of J kinds of evidence."""

    reached_JK: Float64
    """The share of events that reach each of `EDGES`; the first is 1."""
    excess_J: Float64
    """Mean excess over the level."""
    shape_J: Float64
    """The shape of the tail; 0 is exponential."""
    largest_J: Float64
    """The largest excess in the fit, in units of its stream's mean excess."""
    extremal_J: Float64
    """The extremal index: the share of excesses that begin a run."""
    samples: int
    """Number of events in the fit; 0 for the calibration that `assumed` returns."""
    names: tuple[str, ...] = ()
    """Names of the kinds. A calibration made before kinds were named has none."""

    @property
    def kinds(self) -> int:
        return len(self.excess_J)


class At(NamedTuple):
    """Where these columns start in a row. `reached` [J, K] is carried; the others are statistics, [J] each, and `count`
    is one number."""

    recurring: recurring.At
    reached: int
    """How many events reached each of `EDGES`; older events count for less."""
    offset: int
    """How far the level is above the one that linear interpolation in its bin gives."""
    excess: int
    extremal: int
    since: int
    """Number of events since the last excess."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


class Shared(NamedTuple):
    """The part of a `Calibration` that p-values are computed with."""

    shape_J: Float64
    largest_J: Float64
    tail_events: float
    """The number of events that the shared mean excess and extremal index weigh."""

    @classmethod
    def of(cls, calibration: Calibration, events: float = PRIOR_EVENTS) -> Self:
        """Return a copy. `events`: the number of events that the shared distribution weighs."""
        shape_J, largest_J = (np.array(array, np.float64) for array in (calibration.shape_J, calibration.largest_J))
        return cls(shape_J, largest_J, PRIOR_TAIL_RATIO * events)


class Judged(NamedTuple):
    """The result for each row and kind of evidence, [B, J] each; NaN where the evidence is not known."""

    level: Float64
    """The level that `TAIL` of the stream's events passed before this one."""
    p: Float64
    """Probability that a run at least this extreme begins."""
    method: Float64
    """How the p-value was obtained (`Method`)."""
    weight: Float64
    """What the kind's prior odds are multiplied by: here the share of the stream's excesses that begin a run."""


def columns(kinds: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row needs for this module: (carried, statistics)."""
    own = [Column(f"cal_{name}", (kinds,)) for name in At._fields[2:-1]]
    return [Column("cal_levels_reached", (kinds, BINS)), *recurring.columns(kinds)], [*own, Column("cal_count")]


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    reached, others = layout.start("cal_levels_reached"), (layout.start(f"cal_{name}") for name in At._fields[2:])
    return At(recurring.at(layout), reached, *others)


def begin(
    rows: Rows, shared: Calibration, which: Which, kinds: Sequence[int] | None = None, events: float = PRIOR_EVENTS
) -> None:
    """Reset these kinds (None: all) of these rows to what all streams share, which weighs `events` events."""
    for j in range(shared.kinds) if kinds is None else kinds:
        rows["cal_levels_reached"][which, j] = (events * shared.reached_JK[j]).astype(np.float32)
        for name, value in (("excess", shared.excess_J[j]), ("extremal", shared.extremal_J[j])):
            rows[f"cal_{name}"][which, j] = value
        rows["cal_offset"][which, j], rows["cal_since"][which, j] = 0.0, RUN_EVENTS
        rows["recurring_runs"][which, j] = 0.0


def learn_anew(rows: Rows, row: int) -> None:
    """Adapt a row to its new normal. The distributions of the kinds that raised the alarms, which have an excess in
    their last events, weigh at most `KEPT` events from now on. The other kinds stay as they are."""
    odd_J, reached_JK = rows["cal_since"][row] < RUN_EVENTS, rows["cal_levels_reached"][row]
    reached_JK[odd_J] *= np.minimum(1.0, KEPT / np.maximum(reached_JK[odd_J, :1], KEPT))


def judge(rows: Rows, shared: Shared, u_BJ: Float64, memory: float, pace_B: Float64) -> Judged:
    """Compute the p-values of evidence by what is known of each stream, then learn it. `memory`: the normaliser's, in
    events. `pace_B`, 0 to 1, slows a row's learning (an open episode should teach little)."""
    judged = Judged(*(np.empty(u_BJ.shape) for _ in Judged._fields))
    judge_each(rows.carried_BP, rows.statistics_BQ, rows.layout.of(at), shared, u_BJ, MEMORY * memory, pace_B, judged)
    return judged


@compiled
def judge_each(
    carried_BP: Float32,
    statistics_BQ: Float64,
    at: At,
    shared: Shared,
    u_BJ: Float64,
    memory: float,
    pace_B: Float64,
    judged: Judged,
) -> None:
    """`judge` on the rows' blocks, into `judged`; `memory` is that of the distributions."""
    for b in range(len(statistics_BQ)):
        row_Q = statistics_BQ[b]
        row_Q[at.count] += pace_B[b] > 0 and known(u_BJ[b]) > 0
        rate = max(1.0 / (shared.tail_events + row_Q[at.count]), 1.0 / memory)
        for j in range(u_BJ.shape[1]):
            u, start = u_BJ[b, j], at.reached + j * BINS
            reached_K = carried_BP[b, start : start + BINS]
            level = judged.level[b, j] = _level(reached_K, row_Q[at.offset + j])
            judged.p[b, j], judged.method[b, j] = _p_value(reached_K, row_Q, at, shared, j, u, u - level)
            if u > level:
                run = recurring.Run(row_Q[at.since + j] < RUN_EVENTS, 1.0 - row_Q[at.since + j] / memory, pace_B[b])
                law = recurring.Law(row_Q[at.excess + j], shared.shape_J[j])
                least = recurring.meet(carried_BP[b], at.recurring, j, u, run, law) / float(reached_K[0])
                if least > judged.p[b, j]:
                    judged.p[b, j], judged.method[b, j] = least, Method.BODY.value
            if not isnan(u):
                bins.count(reached_K, u, pace_B[b], memory)
                _learn(row_Q, at, j, u - level, pace_B[b], rate)
            judged.weight[b, j] = row_Q[at.extremal + j]
    _cluster(judged.p.reshape(-1), judged.method.reshape(-1))


ARRAYS = tuple(one.name for one in fields(Calibration) if one.name.endswith(("_JK", "_J")))


def of_kinds(shared: Calibration, names: Sequence[str], like: str) -> Calibration:
    """Return the calibration for kinds of these names. A kind that was not measured takes the values of the kind
    `like`."""
    of_J = [shared.names.index(name if name in shared.names else like) for name in names]
    arrays = {name: getattr(shared, name)[of_J] for name in ARRAYS}
    return replace(shared, **arrays, names=tuple(names))


@compiled
def _level(reached_K: Float32, offset: float) -> float:
    target, place = TAIL * float(reached_K[0]), 0
    while place + 1 < BINS and reached_K[place + 1] > target:
        place += 1
    here, beyond = bins.edges(reached_K, place)
    share = min(max((here - target) / max(here - beyond, 1e-12), 0.0), 1.0)
    return float(max(EDGES[place] + WIDTHS[place] * share + offset, 0.0))


@compiled
def _p_value(
    reached_K: Float32, row_Q: Float64, at: At, shared: Shared, j: int, u: float, over: float
) -> tuple[float, float]:
    """Return an event's own p-value in the tail, times the extremal index, and the method. In the body: the p-value,
    and minus the extremal index in place of the method, for `_cluster`."""
    excess, extremal = row_Q[at.excess + j], row_Q[at.extremal + j]
    if isnan(u):
        return nan, float(Method.BODY.value)
    if over > 0:
        method = Method.EXTRAPOLATED if over > shared.largest_J[j] * excess else Method.TAIL
        return TAIL * bins.survival(over, excess, shared.shape_J[j]) * extremal, float(method.value)
    return max(bins.share(reached_K, u), TAIL), -extremal


@compiled
def _cluster(p_N: Float64, method_N: Float64) -> None:
    """Turn the p-values of the body (those whose method is minus the extremal index) into those of runs. At the level
    the factor is the whole index; below it the factor fades to 1. One loop over all values can be vectorised."""
    for n in range(len(p_N)):
        body, extremal = method_N[n] < 0.0, abs(method_N[n])
        run = elementary.exp(elementary.log(p_N[n]) * (1.0 + elementary.log(extremal) / LOG_TAIL))
        p_N[n], method_N[n] = run if body else p_N[n], 0.0 if body else method_N[n]


@compiled
def _learn(row_Q: Float64, at: At, j: int, over: float, pace: float, rate: float) -> None:
    """Update the level's offset. The mean excess and the extremal index change only at an excess, at a rate that makes
    up for its rarity."""
    excess, beyond = row_Q[at.excess + j], over > 0
    step = rate * pace * max(excess, OFFSET_UNIT) * (beyond / CROWDED - 1.0)
    row_Q[at.offset + j] = min(max(row_Q[at.offset + j] + step, 0.0), OFFSET_RANGE)
    if beyond:
        winsorised, quick = min(over, TAIL_WINSOR * excess), min(rate * pace / TAIL, FASTEST)
        row_Q[at.excess + j] = max(excess + quick * (winsorised - excess), EXCESS_FLOOR)
        begins, extremal = row_Q[at.since + j] >= RUN_EVENTS, row_Q[at.extremal + j]
        row_Q[at.extremal + j] = max(extremal + quick * (begins - extremal), EXTREMAL_FLOOR)
    row_Q[at.since + j] = 0.0 if beyond else row_Q[at.since + j] + 1.0


def assumed(kinds: int, names: tuple[str, ...] = ()) -> Calibration:
    """Return a calibration for evidence that has not been measured yet, as the start of fitting. Not for production."""
    reached_K, ones = np.exp(-EDGES / 0.5), np.ones(kinds)
    return Calibration(np.tile(reached_K, (kinds, 1)), 0.5 * ones, 0.0 * ones, 0.0 * ones, ones, 0, names)
