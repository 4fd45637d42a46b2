"""Burst evidence: how fast a stream's events come, where that is faster than usual. Examples are a card that pays forty
times in an hour, a caller that floods, or a source that sends everything twice.

The time between events is measured by its square root. A moving average of square roots is dominated neither by the few
long gaps, as a mean of gaps is, nor by two events that happen to come together, as a mean of logarithms is. Evidence is
how many times shorter than usual the last gaps are. How long gaps may become is another question (`timers`).

A stream that keeps time gives no such evidence, because its gaps differ only by what its sender's clock does. Nor does
a stream most of whose events come at the time of the one before, as the readings of one moment do.

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
"""The window of the moving average of the last gaps."""

TRUSTED_AFTER = 30
"""Number of gaps before it is known what is usual. A card that pays twice a week shows that many in four months."""

LONG = 2.0
"""A gap of more than this many usual gaps is long."""
IRREGULAR = 0.08
"""A stream keeps no time if at least this share of its gaps is long. Of events that come at random a fifth are."""

TOGETHER = 0.5
"""The share of events at the time of the one before must be below this, or the stream gives no evidence."""

WINSOR = sqrt(5.0)
"""The root of a gap counts as at most this many usual roots."""
WINSOR_AFTER = 3
"""Number of first gaps that are not limited by `WINSOR`."""

FASTEST = 1e3
"""The root of a gap may be at most this many times shorter than usual; a faster stream counts as a million times as
fast."""

LEAST = log(4.0)
"""Logarithm of the least speed that counts: events that come fewer than four times as fast as usual say nothing,
however improbable, because people have busy days."""


class At(NamedTuple):
    """The place of each of these columns in a row of statistics."""

    usual: int
    """Mean root of a gap over the long memory."""
    slow: int
    """Mean root of a gap over the last events."""
    long: int
    """Share of gaps that are much longer than usual."""
    together: int
    """Share of events at the time of the one before."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns() -> list[Column]:
    """Return the columns that a row needs for this module."""
    return [Column(f"burst_{name}") for name in At._fields]


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    return At(*(layout.start(f"burst_{name}") for name in At._fields))


@compiled
def meet(row_Q: Float64, at: At, gap: float, slowest: float, window: Window) -> float:
    """Learn the gap before an event, and return how many times faster than usual the last events came, 1 where they did
    not. NaN where `gap` (in microseconds) is NaN, where too few gaps are known, and where the stream keeps time or its
    events come together. `slowest`: the learning rate of a full memory, 1 / memory."""
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
    row_Q[at.usual] += max(2.0 / (count + 1.0), slowest) * (root - usual)  # the first soon count for little
    row_Q[at.slow], row_Q[at.count] = slow, count
    irregular = row_Q[at.long] >= IRREGULAR and row_Q[at.together] < TOGETHER
    return times * times if irregular else nan
