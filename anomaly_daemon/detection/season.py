"""What is usual at this time of day: a profile of each stream's earlier days, and the distance of a value from it.

The day is divided into bins. The values of one visit to a bin are averaged, and the average joins the profile when the
visit is over, so a value is never compared with its own day. The clock is the local one, so a change to summer time
moves nothing. Where days of the week differ, `week` corrects the profile.

Shapes: P carried numbers and Q statistics of a row, D numeric features, Z bins of the day.
"""

from __future__ import annotations

from math import floor, isnan, nan, sqrt
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import resolution, week
from anomaly_daemon.detection.context import SECOND, offsets
from anomaly_daemon.detection.observation import Float32, Float64, Int64
from anomaly_daemon.detection.state import Column, StateLayout

BINS = 48
"""Number of bins in a day, half an hour each."""

RATE = 0.3
"""How far the profile moves towards a new day: half of its weight is then on the last two days."""

WINSOR = 6.0
"""A residual counts, and is learned, as at most this many of its own standard deviations."""

KEPT, SETTLED = 0.125, float(BINS)
"""When twice as much is known of the week, residuals are smaller: their mean square then weighs this share of its
values, or this many."""

KNOWN_AFTER = 8
"""Number of residuals before their standard deviation counts as known."""


class At(NamedTuple):
    """Where a row stores each: `profile` among the carried numbers, [Z, D]; the sums of the current visit; the
    residuals so far."""

    profile: int
    visit: int
    sum: int
    weight: int
    seen: int
    square: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for
    week: week.At


class Residual(NamedTuple):
    """The residual of one value. NaN where no earlier day reached this time of day."""

    standard: float
    usual: float
    """The profile's value, as corrected by the week."""
    scale: float
    """Standard deviation of the residuals."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row must have: (carried, statistics)."""
    visit = [Column("season_visit"), Column("season_sum", (numeric,)), Column("season_weight", (numeric,))]
    known = [Column("season_seen", (numeric,)), Column("season_square", (numeric,)), Column("season_count", (numeric,))]
    carried, statistics = week.columns(numeric)
    return [Column("season", (BINS, numeric), np.nan), *carried], [*visit, *known, *statistics]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    visit, total, weight, seen, square, count = (layout.start(f"season_{name}") for name in At._fields[1:-1])
    return At(layout.start("season"), visit, total, weight, seen, square, count, week.at(layout))


def visits(time_B: Int64, timezone: str) -> Float64:
    """Return the half hour of the local calendar that each event is in, counted from the epoch."""
    return np.floor((time_B / SECOND + offsets(time_B, timezone)) * (BINS / 86_400.0))


@compiled
def come(carried_P: Float32, row_Q: Float64, at: At, numeric: int, visit: float) -> None:
    """Begin a visit to another bin, or on another day: the means of the visit before it join the profile, and those of
    the block before it the week."""
    if row_Q[at.visit] == visit:
        return
    left, goes_on = at.profile + numeric * _bin(row_Q[at.visit]), week.same(row_Q[at.visit], visit)
    for d in range(numeric):
        if not goes_on:
            reach = WINSOR * sqrt(row_Q[at.square + d])
            if week.leave(carried_P, row_Q, at.week, numeric, d, row_Q[at.visit], reach):
                count = row_Q[at.count + d]
                row_Q[at.count + d] = min(count, max(count * KEPT, SETTLED))
        weight, seen = row_Q[at.weight + d], row_Q[at.seen + d]
        if weight > 0:
            former, mean = float(carried_P[left + d]), row_Q[at.sum + d] / weight
            moved = mean if isnan(former) else former + RATE * weight / max(seen, 1.0) * (mean - former)
            carried_P[left + d] = moved
        row_Q[at.sum + d] = row_Q[at.weight + d] = row_Q[at.seen + d] = 0.0
    row_Q[at.visit] = visit


@compiled
def begin(carried_P: Float32, row_Q: Float64, at: At, numeric: int, d: int) -> None:
    """Reset feature `d`."""
    for visit in range(BINS):
        carried_P[at.profile + numeric * visit + d] = nan
    for known in (at.sum, at.weight, at.seen, at.square, at.count):
        row_Q[known + d] = 0.0
    week.begin(carried_P, row_Q, at.week, numeric, d)


@compiled
def residual(
    carried_P: Float32,
    row_Q: Float64,
    at: At,
    numeric: int,
    d: int,
    x: float,
    least: float,
    slowest: float,
    pace: float,
) -> Residual:
    """Compare a value of feature `d` with the profile, and learn it. `least`: the least standard deviation; `slowest`:
    one over the memory."""
    profile = float(carried_P[at.profile + numeric * _bin(row_Q[at.visit]) + d])
    square, known = row_Q[at.square + d], row_Q[at.count + d] >= KNOWN_AFTER
    scale = max(sqrt(square), least, resolution.ABSOLUTE)
    correction = week.usual(carried_P, row_Q, at.week, numeric, d, row_Q[at.visit])
    usual, off = profile + correction, x - profile
    if not isnan(x):
        row_Q[at.sum + d] += pace * x
        row_Q[at.weight + d] += pace
        row_Q[at.seen + d] += 1.0
    if isnan(off):
        return Residual(nan, usual, scale)
    week.note(row_Q, at.week, d, off, pace)
    standard = min(max((off - correction) / scale, -WINSOR), WINSOR)
    winsorised = standard * scale if known else off - correction
    count = row_Q[at.count + d] = row_Q[at.count + d] + 1.0
    rate = slowest if count * slowest > 1.0 else 1.0 / count
    row_Q[at.square + d] += rate * pace * (winsorised**2 - square)
    return Residual(standard if known else 0.0, usual, scale)


@compiled
def _bin(visit: float) -> int:
    return int(visit - BINS * floor(visit / BINS))
