"""What has come several times is not rare, however far it reaches.

A tail's law is fitted to the excesses of single events. A backup that runs once a day makes a run of them every time,
whose peak is always about as high: far out in the law, and yet it comes once a day. So of each kind of evidence a stream
counts its runs by how far they reached. No event is rarer than they say: where R earlier runs in N events reached as far,
its p-value is at least (R - 1/2) / N, the plotting position of the least of them (Hazen 1914).

Runs are counted in bins as events are, are forgotten as they are, and count for less while an episode is open, as they do.

Shapes: J kinds of evidence, K bins of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import bins
from anomaly_daemon.detection.bins import BINS, EDGES, WIDTHS
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.state import Column, StateLayout

NOWHERE = -1.0
"""How far a run has reached that has not begun."""


class At(NamedTuple):
    """Where a row has them: `runs` among what is carried, [J, K], `peak` [J]."""

    runs: int
    """How many runs of excesses reached each of `EDGES`."""
    peak: int
    """The bin that the present run has reached."""


def columns(kinds: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    return [Column("recurring_runs", (kinds, BINS))], [Column("recurring_peak", (kinds,), NOWHERE)]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"recurring_{name}") for name in At._fields))


@compiled
def meet(
    carried_P: Float32, row_Q: Float64, at: At, j: int, u: float, inside: bool, events: float, pace: float, left: float
) -> float:
    """Take an excess of kind `j` in: of the run before it (`inside`), or of a new one, before which only the share `left`
    of earlier ones is still remembered. The least p-value that it may have, in a stream that has shown so many events."""
    runs_K = carried_P[at.runs + j * BINS : at.runs + (j + 1) * BINS]
    peak, place = row_Q[at.peak + j] if inside else NOWHERE, bins.place(u)
    if not inside:
        for k in range(BINS):
            runs_K[k] *= np.float32(left)
    earlier = _reached(runs_K, u, place) - (1.0 if place <= peak else 0.0)  # without itself
    for k in range(int(peak) + 1, place + 1):
        runs_K[k] += np.float32(pace)
    row_Q[at.peak + j] = max(peak, float(place))
    return max(earlier - 0.5, 0.0) / events


@compiled
def _reached(runs_K: Float32, u: float, place: int) -> float:
    """Runs that reached this evidence: even within a bin, and all that are in the last."""
    here = float(runs_K[place])
    if place + 1 >= BINS:
        return here
    into = (u - EDGES[place]) / WIDTHS[place]
    return float(here - into * (here - float(runs_K[place + 1])))
