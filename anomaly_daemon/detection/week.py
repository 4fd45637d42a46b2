"""What is usual on this day of the week: how far the same hours of earlier weeks were from the profile of the days.

A profile that follows the last days is wrong on each Saturday and on each Monday, in the same way every week. So the
week is divided into blocks, and each block's mean distance from the profile is learned. It is added to the profile as
far as such distances were like those of the week before: the slope of their regression, from 0 (days are alike, or
differ without a rule) to 1 (weeks are alike).

Shapes: P carried numbers and Q statistics of a row, D numeric features, W blocks of the week.
"""

from __future__ import annotations

from math import floor, isnan, nan
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.state import Column, StateLayout

BINS = 4
"""Bins of the day (`season.BINS`) in a block: two hours."""

BLOCKS = 84
"""Number of blocks in a week."""

RATE = 0.3
"""How far a block's mean moves towards that of a new week."""

MEMORY = 400.0
"""The number of blocks that the regression remembers: about five weeks."""

DOUBT = 6.0
"""The regression's slope is reduced as if this many blocks had shown no relation."""


class At(NamedTuple):
    """Where a row stores each: `profile` among the carried numbers, [W, D]; the sums of the current block; the products
    of a block's mean with that of the week before, and of the latter with itself."""

    profile: int
    sum: int
    weight: int
    seen: int
    product: int
    square: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row must have: (carried, statistics)."""
    statistics = [Column(f"week_{name}", (numeric,)) for name in At._fields[1:]]
    return [Column("week", (BLOCKS, numeric), np.nan)], statistics


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    return At(layout.start("week"), *(layout.start(f"week_{name}") for name in At._fields[1:]))


@compiled
def same(visit: float, other: float) -> bool:
    """Return whether two visits (`season.visits`) are in the same block of the same week."""
    return bool(floor(visit / BINS) == floor(other / BINS))


@compiled
def usual(carried_P: Float32, row_Q: Float64, at: At, numeric: int, d: int, visit: float) -> float:
    """Return how far from the profile a value of feature `d` usually is in this block of the week; 0 where it is not
    known."""
    former = float(carried_P[at.profile + numeric * _block(visit) + d])
    return 0.0 if isnan(former) else _slope(row_Q, at, d) * former


@compiled
def note(row_Q: Float64, at: At, d: int, off: float, pace: float) -> None:
    """Add a distance from the profile to the current block."""
    row_Q[at.sum + d] += pace * off
    row_Q[at.weight + d] += pace
    row_Q[at.seen + d] += 1.0


@compiled
def leave(carried_P: Float32, row_Q: Float64, at: At, numeric: int, d: int, visit: float, reach: float) -> bool:
    """End a block, which `visit` belongs to: its mean is learned, at most `reach` from what was usual in it. Return
    whether the number of blocks that the regression has seen has doubled."""
    doubled = False
    weight, seen, place = row_Q[at.weight + d], row_Q[at.seen + d], at.profile + numeric * _block(visit) + d
    if weight > 0:
        former, mean = float(carried_P[place]), row_Q[at.sum + d] / weight
        if reach > 0:
            middle = usual(carried_P, row_Q, at, numeric, d, visit)
            mean = middle + min(max(mean - middle, -reach), reach)
        share = weight / seen
        carried_P[place] = mean if isnan(former) else former + RATE * share * (mean - former)
        if not isnan(former):
            count = row_Q[at.count + d] = row_Q[at.count + d] + 1.0
            rate = max(1.0 / count, 1.0 / MEMORY) * share
            row_Q[at.product + d] += rate * (former * mean - row_Q[at.product + d])
            row_Q[at.square + d] += rate * (former * former - row_Q[at.square + d])
            doubled = int(count) & (int(count) - 1) == 0
    row_Q[at.sum + d] = row_Q[at.weight + d] = row_Q[at.seen + d] = 0.0
    return doubled


@compiled
def begin(carried_P: Float32, row_Q: Float64, at: At, numeric: int, d: int) -> None:
    """Reset feature `d`."""
    for block in range(BLOCKS):
        carried_P[at.profile + numeric * block + d] = nan
    for known in (at.sum, at.weight, at.seen, at.product, at.square, at.count):
        row_Q[known + d] = 0.0


@compiled
def _slope(row_Q: Float64, at: At, d: int) -> float:
    square, count = row_Q[at.square + d], row_Q[at.count + d]
    if square <= 0.0:
        return 0.0
    return float(min(max(row_Q[at.product + d] / (square * (1.0 + DOUBT / count)), 0.0), 1.0))


@compiled
def _block(visit: float) -> int:
    block = floor(visit / BINS)
    return int(block - BLOCKS * floor(block / BLOCKS))
