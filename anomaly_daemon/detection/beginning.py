"""The trial of a stream's first values: whether they are typical of the values that follow.

What is usual is at first the mean of the few values seen, and none of the first values can be called an outlier yet. If
the first reading of a sensor is 65535, or if it warms up for twenty readings and then hums within half a degree, the
squares of these values dominate its variance for as long as the memory lasts, and nothing stands out against them for
months. Therefore, once `ENOUGH` values have come, the first of them are compared with all the others. If the first were
much wider (`WIDER`), nothing like them has come again, and what is known of the field is reset to what the others show.
A burst would have come again by then, and is learned like any other behaviour. A field that mostly rests is not tried,
because its width is not known. A field is reset, too, if it turns out to be narrower than a thousandth of its level,
the least deviation in which it was measured until then (`resolution`).

One value of 1e29 among readings of 20 needs no such trial: they cannot be of the same kind. Whichever of them is wrong,
what is known is reset to start with the new value. If the new value is the wrong one, the next value causes another
reset. A stream that alternates between two such kinds would be reset again and again, so a reset needs both a size that
no counter and no time reaches, and a distance that no two readings have from each other.

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
"""Number of first values that may be untypical. It is twice the number of values among which none is called an outlier
(`moments.WINSOR_AFTER`), because whatever came among those may go on for a while."""

ENOUGH = 1000
"""Number of values, the first ones included, after which the trial takes place."""

WIDER = 25.0
"""The first values are much wider if their root mean square deviation from the mean of the others is this many times
the standard deviation of the others."""

ABSURD = 1e20
"""No 64-bit counter and no time in nanoseconds reaches this size: 0 and 2**64 may both be readings of one field."""

APART = 1e12
"""Two values are apart if the larger is more than this many times the smaller, and larger than this many of the field's
units."""

STAYS, ANEW, OTHERS = 0, 1, 2
"""The result of a trial. What is known of a field stays, is reset to start with this value, or is reset to what
`others` returns."""


class At(NamedTuple):
    """Where each of these columns starts in a row: the place of its first field."""

    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for
    """Number of values, up to `ENOUGH`."""
    mean: int
    """Mean of the first values; once all of those have come, the mean of the others. The same holds for `variance`,
    `moves` and `last`."""
    variance: int
    moves: int
    """How many of these values differed from the one before."""
    last: int
    """The last value."""
    first_mean: int
    first_variance: int


def columns(numeric: int) -> list[Column]:
    """Return the columns that a row needs for this module."""
    return [Column(f"beginning_{name}", (numeric,)) for name in At._fields]


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    return At(*(layout.start(f"beginning_{name}") for name in At._fields))


def complete(rows: Rows) -> None:
    """Complete rows stored by a release that had no such trial. Their first values are long past, so counting resumes
    with the other values."""
    known_BD = (rows["level_count"] > 0.0) & (rows["beginning_count"] == 0.0)
    rows["beginning_count"][known_BD] = FIRST
    rows["beginning_mean"][known_BD] = rows["beginning_variance"][known_BD] = nan  # NaN: not wider than any others


@compiled
def others(row_Q: Float64, at: At, d: int) -> tuple[float, float, float]:
    """Return the mean and variance of the values of field `d` after the first ones, and their number."""
    return row_Q[at.mean + d], row_Q[at.variance + d], float(ENOUGH - FIRST)


@compiled
def meet(row_Q: Float64, at: At, d: int, x: float) -> int:
    """Take in a value of field `d`. Return what becomes of what is known of the field: `STAYS`, `ANEW` or `OTHERS`."""
    count = row_Q[at.count + d]
    if isnan(x) or count >= ENOUGH:
        return STAYS
    outcome = STAYS
    if 0.0 < count < WINSOR_AFTER and apart(x, row_Q[at.mean + d], sqrt(row_Q[at.variance + d])):
        outcome, count = ANEW, 0.0
    if count == FIRST:
        row_Q[at.first_mean + d], row_Q[at.first_variance + d] = row_Q[at.mean + d], row_Q[at.variance + d]
    _count_in(row_Q, at, d, x, count + 1.0 if count < FIRST else count + 1.0 - FIRST)
    row_Q[at.count + d] = count + 1.0
    if count + 1.0 == ENOUGH and row_Q[at.moves + d] > RESTS * (ENOUGH - FIRST):
        return OTHERS if _narrower(row_Q, at, d) or _narrow(row_Q, at, d) else STAYS
    return outcome


@compiled
def _count_in(row_Q: Float64, at: At, d: int, x: float, n: float) -> None:
    """Update mean, variance and moves with the n-th of the first values, or the n-th of the others."""
    if n == 1.0:
        row_Q[at.mean + d] = row_Q[at.variance + d] = row_Q[at.moves + d] = 0.0
    off = x - row_Q[at.mean + d]
    row_Q[at.mean + d] += off / n
    row_Q[at.variance + d] = (1.0 - 1.0 / n) * (row_Q[at.variance + d] + off * off / n)
    row_Q[at.moves + d] += 1.0 if n > 1.0 and x != row_Q[at.last + d] else 0.0
    row_Q[at.last + d] = x


@compiled
def _narrower(row_Q: Float64, at: At, d: int) -> bool:
    """Return whether the other values vary much less than the first values differ from them."""
    off, variance = row_Q[at.first_mean + d] - row_Q[at.mean + d], row_Q[at.variance + d]
    return bool(row_Q[at.first_variance + d] + off * off > WIDER**2 * variance)


@compiled
def _narrow(row_Q: Float64, at: At, d: int) -> bool:
    """Return whether the other values vary by less than the least deviation in which the field was measured."""
    return bool(row_Q[at.variance + d] < resolution.least(row_Q[at.mean + d], False) ** 2)


@compiled
def apart(x: float, mean: float, deviation: float) -> bool:
    """Return whether a value and the values before it cannot be of the same kind."""
    value, usual = abs(x), max(abs(mean), deviation)
    smaller, larger = min(value, usual), max(value, usual)
    return bool(larger > ABSURD and larger > APART * max(smaller, 1.0))
