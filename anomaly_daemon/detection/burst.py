"""How fast a stream's events come, where that is faster than usual: a card that pays forty times in an hour, a caller that
floods, a source that sends everything twice.

The time between events is taken by its square root, of which moving averages are ruled neither by the few long gaps, as a
mean is, nor by two events that happen to come together, as a mean of logarithms is. Evidence is how many times shorter
than usual the last gaps are. How long they may be is another question (`timers`).

A stream that keeps time says nothing by it: its gaps differ by what the clock of its sender does. Nor does one of whose
events most come together with the one before, as readings of one moment do.

Shapes: Q statistics of a row.
"""

from __future__ import annotations

from math import isnan, log, nan, sqrt
from typing import NamedTuple

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.averages import Window
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, StateLayout

EVENTS = 12.0
"""The window of its moving average."""

TRUSTED_AFTER = 30
"""Gaps before what is usual is known: a card that pays twice a week shows them in four months."""

LONG = 2.0
"""Times the usual gap, and such gaps are ..."""
IRREGULAR = 0.08
"""... at least this share of all where a stream keeps no time. Of events that come by chance they are a fifth."""

TOGETHER = 0.5
"""The largest share of events that come at the time of the one before."""

WINSOR = sqrt(5.0)
"""The root of a gap counts as at most so many usual ones ..."""
WINSOR_AFTER = 3
"""... once it is more than the first few."""

FASTEST = 1e3
"""Times shorter than usual that the root of a gap may be: what comes faster counts as that, a million times as fast."""

LEAST = log(4.0)
"""Events that come fewer than four times as fast as usual say nothing, however improbable: people have busy days."""


class At(NamedTuple):
    """Where a row has each."""

    usual: int
    """The mean root of a gap, over the long memory ..."""
    slow: int
    """... and over the last events."""
    long: int
    """The share of gaps that are much longer than usual ..."""
    together: int
    """... and of events that came at the time of the one before."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns() -> list[Column]:
    """What a row must hold."""
    return [Column(f"burst_{name}") for name in At._fields]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"burst_{name}") for name in At._fields))


@compiled
def meet(row_Q: Float64, at: At, gap: float, slowest: float, window: Window) -> float:
    """How many times faster than usual the last events came, 1 where they did not; NaN where there is no gap (in
    microseconds), or nothing to hold it against. `slowest`: one over the memory."""
    if isnan(gap):
        return nan
    count, usual, root = row_Q[at.count] + 1.0, row_Q[at.usual], sqrt(max(gap, 0.0))
    if count > WINSOR_AFTER and usual > 0.0:
        root = min(root, WINSOR * usual)
    first = 1.0 / count
    row_Q[at.long] += max(first, slowest) * ((1.0 if root > sqrt(LONG) * usual > 0.0 else 0.0) - row_Q[at.long])
    row_Q[at.together] += max(first, slowest) * ((1.0 if gap == 0.0 else 0.0) - row_Q[at.together])
    slow = row_Q[at.slow] + max(first, window.rate) * (root - row_Q[at.slow])
    known = count > TRUSTED_AFTER and usual > 0.0
    times = max(usual / max(slow, usual / FASTEST), 1.0) if known else nan
    row_Q[at.usual] += max(2.0 / (count + 1.0), slowest) * (root - usual)  # of the first ones soon little is left
    row_Q[at.slow], row_Q[at.count] = slow, count
    irregular = row_Q[at.long] >= IRREGULAR and row_Q[at.together] < TOGETHER
    return times * times if irregular else nan
