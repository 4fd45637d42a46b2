"""From evidence to a p-value: each stream's own distribution of its evidence, with a tail fitted beyond it.

A stream keeps, of each kind of evidence, how many of its events reached each of `EDGES` (an empirical distribution that
forgets), the mean excess over the level that `TAIL` of its events pass, and how its excesses cluster. All start from what
is shared, which weighs as much as some events of the stream. Counting places the level to within a bin. Where many times
as many events pass it as should, because they crowd in one part of the bin, it is raised by stochastic approximation
(Robbins and Monro 1951): in the long run no more than `CROWDED` of a stream's events lie beyond it, whatever their
distribution. Beyond it stands the generalised Pareto law (Pickands 1975), its shape fitted on many streams by
probability-weighted moments (Hosking and Wallis 1987). Past the largest excess of the fit it extrapolates, and says so.

Extremes come in runs: a moving average that is high stays high for a while, and an alarm is one whether it lasts for one
event or for fifty. An alarm budget counts runs. So a p-value here is the probability, per event, that a run at least this
extreme begins: the event's own, times the extremal index (Leadbetter 1983), the share of the excesses that begin a run,
estimated by the runs method (Smith and Weissman 1994). Below the level, where there are no runs, the factor fades to 1. And
no run is rarer than the stream has shown it to be (`recurring`).

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
"""The share of events past the tail's level."""
LOG_TAIL = log(TAIL)

CROWDED = 0.1
"""The most events that may pass the level for as long as one likes."""

OFFSET_UNIT = 0.05
"""The offset moves as if the mean excess were at least this."""

OFFSET_RANGE = 0.5
"""The widest bin but the last three."""

PRIOR_EVENTS = SHARED_EVENTS
"""The shared distribution weighs as much as this many events of the stream, unless the operator says otherwise."""

PRIOR_TAIL_RATIO = 50.0 / 3.0
"""The shared mean excess and extremal index weigh so many times as much: 500 events, 10 excesses."""

MEMORY = 10.0
"""A distribution remembers this many times the events that the normaliser does: only one in fifty says anything of the
tail."""

EXCESS_FLOOR = 1e-3
TAIL_WINSOR = 20.0
"""An excess of more than this many mean excesses moves their mean as if it were that many."""

RUN_EVENTS = 10.0
"""Events without an excess that end a run of them."""

EXTREMAL_FLOOR = 0.01

KEPT = 500.0
"""Events that a distribution weighs at a new level: what usual evidence is does not change with what is usual."""

FASTEST = 0.25
"""The most that one excess moves what is known of the excesses."""


class Method(IntEnum):
    """How a p-value was obtained."""

    BODY = 0
    """Counted: of events, or of runs that reached about as far."""
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
    names: tuple[str, ...] = ()
    """Of the kinds. A calibration made before they were named has none."""

    @property
    def kinds(self) -> int:
        return len(self.excess_J)


class At(NamedTuple):
    """Where a row has what its stream has shown of its evidence: `reached` among what is carried, [J, K], the others [J],
    `count` alone."""

    recurring: recurring.At
    reached: int
    """Events that reached each of `EDGES`, the older the less of them."""
    offset: int
    """How far the level is above where even bins have it."""
    excess: int
    extremal: int
    since: int
    """Events since the last excess."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


class Shared(NamedTuple):
    """Of a `Calibration`, what a p-value is computed with."""

    shape_J: Float64
    largest_J: Float64
    tail_events: float
    """What the shared mean excess and extremal index weigh."""

    @classmethod
    def of(cls, calibration: Calibration, events: float = PRIOR_EVENTS) -> Self:
        """A copy. `events`: what the shared distribution weighs."""
        shape_J, largest_J = (np.array(told, np.float64) for told in (calibration.shape_J, calibration.largest_J))
        return cls(shape_J, largest_J, PRIOR_TAIL_RATIO * events)


class Judged(NamedTuple):
    """[B, J] each; NaN for evidence that is not known."""

    level: Float64
    """What `TAIL` of the stream's events passed before this one."""
    p: Float64
    """P(a run at least this extreme begins)."""
    method: Float64
    """How it was obtained (`Method`)."""
    extremal: Float64
    """The share of the stream's excesses that begin a run."""


def columns(kinds: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    own = [Column(f"cal_{name}", (kinds,)) for name in At._fields[2:-1]]
    return [Column("cal_levels_reached", (kinds, BINS)), *recurring.columns(kinds)], [*own, Column("cal_count")]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    reached, others = layout.start("cal_levels_reached"), (layout.start(f"cal_{name}") for name in At._fields[2:])
    return At(recurring.at(layout), reached, *others)


def begin(
    rows: Rows, shared: Calibration, which: Which, kinds: Sequence[int] | None = None, events: float = PRIOR_EVENTS
) -> None:
    """Let these rows have shown nothing of these kinds (None: of any) but what all streams share. `events`: its weight."""
    for j in range(shared.kinds) if kinds is None else kinds:
        rows["cal_levels_reached"][which, j] = (events * shared.reached_JK[j]).astype(np.float32)
        for name, value in (("excess", shared.excess_J[j]), ("extremal", shared.extremal_J[j])):
            rows[f"cal_{name}"][which, j] = value
        rows["cal_offset"][which, j], rows["cal_since"][which, j] = 0.0, RUN_EVENTS
        rows["recurring_runs"][which, j] = 0.0


def learn_anew(rows: Rows, row: int) -> None:
    """What is odd of a row is its new normal: the distributions of the kinds that say so, which have an excess in their
    last events, weigh no more than `KEPT`. What the others know of the stream stays."""
    odd_J, reached_JK = rows["cal_since"][row] < RUN_EVENTS, rows["cal_levels_reached"][row]
    reached_JK[odd_J] *= np.minimum(1.0, KEPT / np.maximum(reached_JK[odd_J, :1], KEPT))


def judge(rows: Rows, shared: Shared, u_BJ: Float64, memory: float, pace_B: Float64) -> Judged:
    """Hold evidence against what is known of each stream, and learn it. `memory`: the normaliser's. `pace_B` in 0..1 slows
    a row down (an open episode must not teach)."""
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
    """`judge`, of the rows' blocks and with the distributions' memory, into `judged`."""
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
            judged.extremal[b, j] = row_Q[at.extremal + j]
    _cluster(judged.p.reshape(-1), judged.method.reshape(-1))


ARRAYS = tuple(one.name for one in fields(Calibration) if one.name.endswith(("_JK", "_J")))


def of_kinds(shared: Calibration, names: Sequence[str], like: str) -> Calibration:
    """For these kinds of evidence: one that was not measured is taken for that which it is `like`."""
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
    """The event's own, and its method; of the body, where `_cluster` makes it that of a run, minus the extremal index."""
    excess, extremal = row_Q[at.excess + j], row_Q[at.extremal + j]
    if isnan(u):
        return nan, float(Method.BODY.value)
    if over > 0:
        method = Method.EXTRAPOLATED if over > shared.largest_J[j] * excess else Method.TAIL
        return TAIL * bins.survival(over, excess, shared.shape_J[j]) * extremal, float(method.value)
    return max(bins.share(reached_K, u), TAIL), -extremal


@compiled
def _cluster(p_N: Float64, method_N: Float64) -> None:
    """Of the body, where the method is minus the extremal index: the event's own p-value times that at the level, and times
    less of it below. One loop over all of them, which takes several at once."""
    for n in range(len(p_N)):
        body, extremal = method_N[n] < 0.0, abs(method_N[n])
        run = elementary.exp(elementary.log(p_N[n]) * (1.0 + elementary.log(extremal) / LOG_TAIL))
        p_N[n], method_N[n] = run if body else p_N[n], 0.0 if body else method_N[n]


@compiled
def _learn(row_Q: Float64, at: At, j: int, over: float, pace: float, rate: float) -> None:
    """The excess and its run move only where there is one, and then by as much as makes up for its rarity."""
    excess, beyond = row_Q[at.excess + j], over > 0
    step = rate * pace * max(excess, OFFSET_UNIT) * (beyond / CROWDED - 1.0)
    row_Q[at.offset + j] = min(max(row_Q[at.offset + j] + step, 0.0), OFFSET_RANGE)
    if beyond:
        told, quick = min(over, TAIL_WINSOR * excess), min(rate * pace / TAIL, FASTEST)
        row_Q[at.excess + j] = max(excess + quick * (told - excess), EXCESS_FLOOR)
        begins, extremal = row_Q[at.since + j] >= RUN_EVENTS, row_Q[at.extremal + j]
        row_Q[at.extremal + j] = max(extremal + quick * (begins - extremal), EXTREMAL_FLOOR)
    row_Q[at.since + j] = 0.0 if beyond else row_Q[at.since + j] + 1.0


def assumed(kinds: int, names: tuple[str, ...] = ()) -> Calibration:
    """A calibration for evidence nobody has measured yet: what fitting begins from. Not for production."""
    reached_K, ones = np.exp(-EDGES / 0.5), np.ones(kinds)
    return Calibration(np.tile(reached_K, (kinds, 1)), 0.5 * ones, 0.0 * ones, 0.0 * ones, ones, 0, names)
