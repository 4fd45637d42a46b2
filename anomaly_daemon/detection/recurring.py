"""What has come several times is not rare, however far it reaches.

A tail's law is fitted to the excesses of single events. A backup that runs once a day makes a run of them every time,
whose peak is always about as high: far out in the law, and yet it comes once a day. So of each kind of evidence a stream
counts its runs by how far they reached. No event is rarer than they say: where R earlier runs in N events reached as far,
its p-value is at least (R - 1/2) / N, the plotting position of the least of them (Hazen 1914).

Runs are counted in bins as events are, are forgotten as they are, and count for less while an episode is open, as they do.

Shapes: J kinds of evidence, K bins of one, from `FIRST` on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import bins
from anomaly_daemon.detection.bins import BINS
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


def columns(kinds: int) -> list[Column]:
    """What a row must carry."""
    return [Column("recurring_runs", (kinds, KEPT)), Column("recurring_peak", (kinds,), NOWHERE)]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"recurring_{name}") for name in At._fields))


@compiled
def meet(carried_P: Float32, at: At, j: int, u: float, inside: bool, events: float, pace: float, left: float) -> float:
    """Take an excess of kind `j` in: of the run before it (`inside`), or of a new one, before which only the share `left`
    of earlier ones is still remembered. The least p-value that it may have, in a stream that has shown so many events."""
    runs_K = carried_P[at.runs + j * KEPT : at.runs + (j + 1) * KEPT]
    bin_, peak = bins.place(u), carried_P[at.peak + j]
    place, earlier = bin_ - FIRST, 0.0
    if not inside:
        peak = np.float32(NOWHERE)
        for k in range(KEPT):
            runs_K[k] *= np.float32(left)
    if place >= 0:
        earlier = bins.reached(runs_K, place, bins.within(u, bin_)) - (1.0 if place <= peak else 0.0)  # without itself
        for k in range(int(peak) + 1, place + 1):
            runs_K[k] += np.float32(pace)
    carried_P[at.peak + j] = max(peak, np.float32(place))
    return max(earlier - 0.5, 0.0) / events
