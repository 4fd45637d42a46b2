"""What has come several times is not rare, however far it reaches.

A tail's law is fitted to the excesses of single events. A backup that runs once a day makes a run of them every time,
whose peak is always about as high: far out in the law, and yet it comes once a day. So of each kind of evidence a stream
counts its runs by how far they reached. No event is rarer than they say: where R earlier runs in N events reached an edge,
its p-value is at least (R - 1/2) / N, the plotting position of the least of them (Hazen 1914), times the law's chance to go
on from there to where it is; at the edge where that is most.

Runs are counted in bins as events are, are forgotten as they are, and count for less while an episode is open, as they do.

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
"""The first bin of a distribution in which runs are counted: below it nothing is far out, and a stream is to be small."""

KEPT = BINS - FIRST

NOWHERE = -1.0
"""How far a run has reached that has not begun."""


class At(NamedTuple):
    """Where a row has them, among what is carried: `runs` [J, K], `peak` [J]."""

    runs: int
    """How many runs of excesses reached each of `bins.EDGES`."""
    peak: int
    """The bin that the present run has reached."""


class Run(NamedTuple):
    """That an excess belongs to."""

    inside: bool
    """Whether it goes on. Else a new one begins ..."""
    left: float
    """... before which this share of earlier ones is still remembered; none, where it is not above 0."""
    pace: float
    """What it counts for."""


class Law(NamedTuple):
    """Of what lies beyond an edge."""

    excess: float
    """On average."""
    shape: float


def columns(kinds: int) -> list[Column]:
    """What a row must carry."""
    return [Column("recurring_runs", (kinds, KEPT)), Column("recurring_peak", (kinds,), NOWHERE)]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"recurring_{name}") for name in At._fields))


@compiled
def meet(carried_P: Float32, at: At, j: int, u: float, run: Run, law: Law) -> float:
    """Take an excess of kind `j` in. How many runs at least as extreme there were before it, in as many events as the
    stream has shown: at the least, and less a half."""
    runs_K = carried_P[at.runs + j * KEPT : at.runs + (j + 1) * KEPT]
    peak, place, most = carried_P[at.peak + j], bins.place(u) - FIRST, 0.0
    if not run.inside:
        peak = np.float32(NOWHERE)
        for k in range(KEPT):
            runs_K[k] *= np.float32(max(run.left, 0.0))
    for k in range(place + 1):
        earlier = float(runs_K[k]) - (1.5 if k <= peak else 0.5)  # without the one that it is in
        if earlier > 0.0:
            most = max(most, earlier * bins.survival(u - EDGES[FIRST + k], law.excess, law.shape))
    for k in range(int(peak) + 1, place + 1):
        runs_K[k] += np.float32(run.pace)
    carried_P[at.peak + j] = max(peak, np.float32(place))
    return most
