"""A lower bound on p-values from earlier runs: what has occurred several times is not rare, however extreme it is.

The distribution of a tail is fitted to the excesses of single events. A backup that runs once a day makes a run of
exceedances each time, whose peak is always about as high: far out in the fitted tail, and yet it occurs once a day. So
for each kind of evidence a stream counts its runs by how far they reached, and no event counts as rarer than these
counts indicate. Where R earlier runs in N events reached an edge, the event's p-value is at least (R - 1/2) / N, the
plotting position of the least of them (Hazen 1914), times the tail's probability of going on from that edge to the
event. The largest of these bounds over all edges counts.

Runs are counted in the same bins as events and forgotten at the same rate. Like events they count for less while an
episode is open.

Shapes: J kinds of evidence, K bins of one, from `FIRST` on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import bins
from anomaly_daemon.detection.bins import BINS, EDGES
from anomaly_daemon.detection.observation import Float32
from anomaly_daemon.detection.state import Column, StateLayout

FIRST = 4
"""The first bin of a distribution in which runs are counted. What lies below it is not extreme, and a stream's row is
to be small."""

KEPT = BINS - FIRST

NOWHERE = -1.0
"""The peak of a run that has not begun."""


class At(NamedTuple):
    """Where a row stores these numbers, among the carried ones: `runs` [J, K], `peak` [J]."""

    runs: int
    """How many runs of exceedances reached each of `bins.EDGES`, from `FIRST` on."""
    peak: int
    """The bin that the current run has reached, counted from `FIRST`."""


class Run(NamedTuple):
    """The run that an exceedance belongs to."""

    inside: bool
    """Whether the exceedance continues a run. Otherwise it begins a new one."""
    left: float
    """The share of earlier runs that is still remembered when a new run begins; none if this is not above 0."""
    pace: float
    """How much the run counts for."""


class Law(NamedTuple):
    """The distribution of what lies beyond an edge."""

    excess: float
    """The mean excess."""
    shape: float


def columns(kinds: int) -> list[Column]:
    """Return the columns that a row must have among its carried numbers."""
    return [Column("recurring_runs", (kinds, KEPT)), Column("recurring_peak", (kinds,), NOWHERE)]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store these numbers."""
    return At(*(layout.start(f"recurring_{name}") for name in At._fields))


@compiled
def meet(carried_P: Float32, at: At, j: int, u: float, run: Run, law: Law) -> float:
    """Count an exceedance `u` of kind `j`. Return a lower bound on how many of the stream's earlier runs were at least
    as extreme, less a half. The caller divides it by the number of events."""
    runs_K = carried_P[at.runs + j * KEPT : at.runs + (j + 1) * KEPT]
    peak, place, most = carried_P[at.peak + j], bins.place(u) - FIRST, 0.0
    if not run.inside:
        peak = np.float32(NOWHERE)
        for k in range(KEPT):
            runs_K[k] *= np.float32(max(run.left, 0.0))
    for k in range(place + 1):
        earlier = float(runs_K[k]) - (1.5 if k <= peak else 0.5)  # without the current run
        if earlier > 0.0:
            most = max(most, earlier * bins.survival(u - EDGES[FIRST + k], law.excess, law.shape))
    for k in range(int(peak) + 1, place + 1):
        runs_K[k] += np.float32(run.pace)
    carried_P[at.peak + j] = max(peak, np.float32(place))
    return most
