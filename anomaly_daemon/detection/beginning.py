"""A stream's first values: whether they say anything of those that follow.

What is usual is at first the mean of what came, and none of the first values can be called an outlier yet. A sensor whose
first reading is 65535, or one that warms up for twenty readings and then hums within half a degree: their squares are most
of what is usual for as long as a memory lasts, and nothing stands out of that for months. So once `ENOUGH` values are there
the first of them are held against all the others. Where they are this much wider, nothing like them has come again, and
what is known of the field begins anew with the others. A burst comes again before that, and is learned as any other; and of
a field that mostly rests nobody knows how wide it is. It begins anew, too, where it shows by then to be narrower than a
thousandth of its level, in which it was measured until then (`resolution`).

One value of 1e29 among readings of 20 needs no such trial: they cannot be of one kind. Whichever is wrong, what is known
begins anew with the value; where that is the wrong one, once more with the next. A stream that goes to and fro between two
such kinds would begin anew for ever, so both are needed: a size that no counter has and no time, and a distance that no
reading is from another.

Shapes: Q statistics of a row.
"""

from __future__ import annotations

from math import isnan, nan, sqrt
from typing import NamedTuple

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import resolution
from anomaly_daemon.detection.moments import WINSOR_AFTER
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.quiet import RESTS
from anomaly_daemon.detection.state import Column, Rows, StateLayout

FIRST = 60
"""Values that may be an accident: twice those that none is called an outlier among (`moments.WINSOR_AFTER`), for what came
then may go on for a while."""

ENOUGH = 1000
"""Values, with those, until it is seen whether it was."""

WIDER = 25.0
"""How many times larger a deviation of the first is, about the mean of the others."""

ABSURD = 1e20
"""No counter of 64 bits comes so far, and no time in nanoseconds: 0 and 2**64 are readings of one field."""

APART = 1e12
"""So many times larger, and larger than so many of a field's units."""

STAYS, ANEW, OTHERS = 0, 1, 2
"""What is known of a field: stays; begins anew with this value; begins anew with the `others`."""


class At(NamedTuple):
    """Where a row has them: the place of the first of each."""

    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for
    """Values, up to `ENOUGH`."""
    mean: int
    """Of the first ones, and once they are all there of the others ..."""
    variance: int
    moves: int
    """... how many of them were other than the one before ..."""
    last: int
    """... and the last."""
    first_mean: int
    first_variance: int


def columns(numeric: int) -> list[Column]:
    """What a row must hold."""
    return [Column(f"beginning_{name}", (numeric,)) for name in At._fields]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"beginning_{name}") for name in At._fields))


def complete(rows: Rows) -> None:
    """Rows of a release that did not look: the first values are long past, and the next are looked at."""
    known_BD = (rows["level_count"] > 0.0) & (rows["beginning_count"] == 0.0)
    rows["beginning_count"][known_BD] = FIRST
    rows["beginning_mean"][known_BD] = rows["beginning_variance"][known_BD] = nan  # wider than nothing


@compiled
def others(row_Q: Float64, at: At, d: int) -> tuple[float, float, float]:
    """Mean and variance of the values of field `d` after the first, and how many they are."""
    return row_Q[at.mean + d], row_Q[at.variance + d], float(ENOUGH - FIRST)


@compiled
def meet(row_Q: Float64, at: At, d: int, x: float) -> int:
    """Take a value of field `d` in: `STAYS`, `ANEW` or `OTHERS`."""
    count = row_Q[at.count + d]
    if isnan(x) or count >= ENOUGH:
        return STAYS
    told = STAYS
    if 0.0 < count < WINSOR_AFTER and apart(x, row_Q[at.mean + d], sqrt(row_Q[at.variance + d])):
        told, count = ANEW, 0.0
    if count == FIRST:
        row_Q[at.first_mean + d], row_Q[at.first_variance + d] = row_Q[at.mean + d], row_Q[at.variance + d]
    _count_in(row_Q, at, d, x, count + 1.0 if count < FIRST else count + 1.0 - FIRST)
    row_Q[at.count + d] = count + 1.0
    if count + 1.0 == ENOUGH and row_Q[at.moves + d] > RESTS * (ENOUGH - FIRST):
        return OTHERS if _narrower(row_Q, at, d) or _narrow(row_Q, at, d) else STAYS
    return told


@compiled
def _count_in(row_Q: Float64, at: At, d: int, x: float, n: float) -> None:
    """As the n-th of its kind."""
    if n == 1.0:
        row_Q[at.mean + d] = row_Q[at.variance + d] = row_Q[at.moves + d] = 0.0
    off = x - row_Q[at.mean + d]
    row_Q[at.mean + d] += off / n
    row_Q[at.variance + d] = (1.0 - 1.0 / n) * (row_Q[at.variance + d] + off * off / n)
    row_Q[at.moves + d] += 1.0 if n > 1.0 and x != row_Q[at.last + d] else 0.0
    row_Q[at.last + d] = x


@compiled
def _narrower(row_Q: Float64, at: At, d: int) -> bool:
    """Whether the others move within much less than the first did."""
    off, variance = row_Q[at.first_mean + d] - row_Q[at.mean + d], row_Q[at.variance + d]
    return bool(row_Q[at.first_variance + d] + off * off > WIDER**2 * variance)


@compiled
def _narrow(row_Q: Float64, at: At, d: int) -> bool:
    """Whether they move within less than what they were measured in."""
    return bool(row_Q[at.variance + d] < resolution.least(row_Q[at.mean + d], False) ** 2)


@compiled
def apart(x: float, mean: float, deviation: float) -> bool:
    """Whether a value and those before it cannot be of one kind."""
    value, usual = abs(x), max(abs(mean), deviation)
    smaller, larger = min(value, usual), max(value, usual)
    return bool(larger > ABSURD and larger > APART * max(smaller, 1.0))
