"""The shape of a field's last values compared with the shapes that its stream has shown: a missing heartbeat, a cycle
that is cut short or runs backwards, a day of another kind.

In a stream that repeats a shape, it says little whether single values are ordinary or a linear law predicts them. What
is anomalous there is a piece that is like no other, a discord (Keogh, Lin and Fu 2005). To compare each piece with all
earlier ones a stream would have to keep them all. Here it keeps a few prototypes and moves the nearest towards each new
piece (vector quantisation: MacQueen 1967). A piece is the last values, averaged in pairs, less their mean; their level
is left to other kinds of evidence. Some shapes, such as a steep edge, always fit less well than others. Each prototype
therefore stores how far away the pieces usually are that it is the nearest to. The evidence is the moving average of
squared distances, in units of that usual distance.

Missing values leave no gap: the last values are the last ones that were present.

Shapes: P carried numbers and Q statistics of a row.
"""

from __future__ import annotations

from math import inf, isnan, nan, sqrt
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import pieces
from anomaly_daemon.detection.averages import Window, moved
from anomaly_daemon.detection.elementary import least_of
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.pieces import LENGTH, UNIT, VALUES, WORDS, ZERO, Piece
from anomaly_daemon.detection.state import Column, StateLayout

PROTOTYPES = 32

HIGH, MIDDLE = np.float32(2.0**-16), np.float32(2.0**-8)
"""The first, times a word, gives the word's highest number and a fraction. The second does the same for the middle
number, once the highest is subtracted."""

KNOWN_AFTER, TRUSTED_AFTER = 100, 200
"""Number of values before distances are compared with the usual one, and before their evidence counts."""

NEW = 1.0
"""While there is a free place, a piece that is further away than this many usual distances becomes a prototype of its
own."""

REPLACES = 4.0
"""Without a free place, a piece that is further away than this many usual distances may replace the least used
prototype."""

SELDOM = 1.5
"""A prototype may be replaced if its uses, which decay, are fewer than this."""

FORGOTTEN, EVERY = 0.9998, 32
"""The share of a use that is left after each piece, and the number of pieces after which this decay is applied."""

LEAST_USED = 1e-3
"""A prototype whose uses have decayed to this is removed."""

SLOWEST = 0.005
"""The least share of the way that a prototype moves towards a piece that it is the nearest to."""

OWN_AFTER = 20.0
"""Uses after which a prototype's own usual distance weighs as much as that of all pieces."""

MEMORY = 4000.0
"""Number of pieces that the usual distance is a mean over."""

FLOOR = UNIT**-2
"""The least usual distance, in variances of the field: a difference of one integer step may be rounding."""

WINSOR = 20.0
"""A squared distance counts for at most this many usual ones."""

WINSOR_AFTER = 20
"""Number of pieces after which that limit also applies to learning the usual distance."""

EVENTS = 7.0
"""The window of the moving average, in values."""


class At(NamedTuple):
    """Where a row stores each. The first three are among the carried numbers, one row per field."""

    prototypes: int
    """`PROTOTYPES` packed pieces: the first word of each, then the second of each."""
    uses: int
    """How many pieces each prototype was the nearest to; older pieces count for less."""
    own: int
    """The mean squared distance of those pieces, per number of a piece."""
    usual: int
    """The same over all pieces."""
    slow: int
    """The moving average of squared distances in usual ones."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


class Met(NamedTuple):
    """The result for one value; NaN where nothing is known."""

    slow: float
    """Moving average of the squared distances, in usual ones."""
    expected: float
    """The value at which the nearest prototype ends, in standard deviations from the level."""
    scale: float
    """The standard deviation of values from the expected one."""
    off: float
    """The largest difference between the piece and the prototype, with its sign, in standard deviations."""
    there: float
    """The prototype's value at the place of that difference, in standard deviations from the level."""


class Nearest(NamedTuple):
    """The prototype that is the nearest to a piece."""

    k: int
    """Its index; -1 where there is no prototype."""
    distance: float
    """The squared distance, per number of the piece."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row must have: (carried, statistics)."""
    own = [Column(f"shape_{name}", (numeric, PROTOTYPES)) for name in At._fields[1:3]]
    pieces = Column("shape_prototypes", (numeric, WORDS, PROTOTYPES))
    return [pieces, *own], [Column(f"shape_{name}", (numeric,)) for name in At._fields[3:]]


def at(layout: StateLayout) -> At:
    """Return where rows of this layout store each."""
    return At(*(layout.start(f"shape_{name}") for name in At._fields))


@compiled
def begin(carried_P: Float32, row_Q: Float64, at: At, d: int) -> None:
    """Reset field `d`."""
    row_Q[at.count + d] = row_Q[at.slow + d] = row_Q[at.usual + d] = 0.0
    for k in range(PROTOTYPES):
        carried_P[at.uses + d * PROTOTYPES + k] = 0.0


@compiled
def meet(carried_P: Float32, row_Q: Float64, at: At, d: int, recent: int, window: Window, near_K: Float32) -> Met:
    """Compare the last values of field `d`, which are at `recent` among the carried numbers, the newest first, with the
    shapes before them, and learn their shape. To be called once for each new value. `near_K`: work space for
    `PROTOTYPES` distances."""
    if isnan(carried_P[recent + VALUES - 1]):  # the oldest was forgotten after a gap
        return Met(nan, nan, nan, nan, nan)
    count = row_Q[at.count + d] = row_Q[at.count + d] + 1.0
    if count < VALUES:
        return Met(nan, nan, nan, nan, nan)
    mean, usual = pieces.mean_of(carried_P, recent), max(row_Q[at.usual + d], FLOOR)
    piece = pieces.piece_of(carried_P, recent, mean)
    nearest = _nearest(carried_P, at, d, piece, near_K)
    slow, expected, scale, most, there = nan, nan, nan, nan, nan
    if count >= KNOWN_AFTER and nearest.k >= 0:
        fits = _fits(carried_P, at, d, nearest.k, usual)
        slow = moved(row_Q, at.slow + d, min(nearest.distance / fits, WINSOR), window)
        held = pieces.unpacked(carried_P, _place(at, d, nearest.k), PROTOTYPES)
        expected, scale = mean + (held.f - ZERO) / UNIT, sqrt(fits)
        most, there = pieces.largest(piece, held)
    if count % EVERY == 0:
        _forget(carried_P, at.uses + d * PROTOTYPES)
    _learn(carried_P, at, d, piece, nearest, usual, int(count))
    met = count - VALUES + 1.0
    off = min(nearest.distance, WINSOR * usual) if met > WINSOR_AFTER else nearest.distance
    row_Q[at.usual + d] += max(1.0 / met, 1.0 / MEMORY) * (off - row_Q[at.usual + d])
    return Met(slow if count >= TRUSTED_AFTER else nan, expected, scale, most, mean + there)


@compiled
def _nearest(carried_P: Float32, at: At, d: int, piece: Piece, near_K: Float32) -> Nearest:
    """Return the nearest of the prototypes in use."""
    _distances(carried_P, _place(at, d, 0), at.uses + d * PROTOTYPES, piece, near_K)
    k = least_of(near_K[:PROTOTYPES])
    far = float(near_K[k]) / (LENGTH * UNIT * UNIT)
    return Nearest(k, far) if far < inf else Nearest(-1, 0.0)


@compiled
def _distances(carried_P: Float32, first: int, uses: int, piece: Piece, near_K: Float32) -> None:
    """Compute the squared distance from each prototype: several at once, in single precision and without a branch. It
    is infinite for a prototype that is not in use."""
    a, b, c = np.float32(piece.a), np.float32(piece.b), np.float32(piece.c)
    d, e, f = np.float32(piece.d), np.float32(piece.e), np.float32(piece.f)
    older_K, newer_K = carried_P[first : first + PROTOTYPES], carried_P[first + PROTOTYPES : first + 2 * PROTOTYPES]
    uses_K = carried_P[uses : uses + PROTOTYPES]
    for k in range(PROTOTYPES):
        older, newer = older_K[k], newer_K[k]
        third, sixth = np.floor(older * HIGH), np.floor(newer * HIGH)
        older, newer = older - third * np.float32(65536.0), newer - sixth * np.float32(65536.0)
        second, fifth = np.floor(older * MIDDLE), np.floor(newer * MIDDLE)
        older, newer = a - (older - second * np.float32(256.0)), d - (newer - fifth * np.float32(256.0))
        second, third, fifth, sixth = b - second, c - third, e - fifth, f - sixth
        square = (older * older + second * second) + (third * third + newer * newer) + (fifth * fifth + sixth * sixth)
        near_K[k] = square if uses_K[k] > np.float32(0.0) else np.float32(inf)


@compiled
def _place(at: At, d: int, k: int) -> int:
    """Return the place of a prototype's first word; the second is `PROTOTYPES` further."""
    return at.prototypes + d * WORDS * PROTOTYPES + k


@compiled
def _fits(carried_P: Float32, at: At, d: int, k: int, usual: float) -> float:
    """Return the usual squared distance of the pieces that this prototype is the nearest to. The more such pieces there
    were, the more its own distance counts."""
    own, uses = float(carried_P[at.own + d * PROTOTYPES + k]), float(carried_P[at.uses + d * PROTOTYPES + k])
    return max((own * uses + usual * OWN_AFTER) / (uses + OWN_AFTER), FLOOR)


@compiled
def _learn(carried_P: Float32, at: At, d: int, piece: Piece, nearest: Nearest, usual: float, turn: int) -> None:
    """Make the piece a prototype of its own, or move the nearest one towards it. `turn`: seed of the rounding."""
    uses, own, k, rate = at.uses + d * PROTOTYPES, at.own + d * PROTOTYPES, nearest.k, 1.0
    free = _free(carried_P, uses, nearest.distance / usual) if k >= 0 else 0
    if k < 0 or free >= 0:
        k, carried_P[uses + free], carried_P[own + free] = free, 1.0, usual
    else:
        carried_P[uses + k] += np.float32(1.0)
        rate = max(1.0 / (carried_P[uses + k] + 1.0), SLOWEST)
        carried_P[own + k] += rate * (min(nearest.distance, WINSOR * usual) - carried_P[own + k])
    pieces.move(carried_P, _place(at, d, k), PROTOTYPES, piece, rate, turn * PROTOTYPES + k)


@compiled
def _free(carried_P: Float32, uses: int, far: float) -> int:
    """Return the place for a piece at distance `far`, in usual distances: a free one, or that of the least used
    prototype if it may be replaced; otherwise -1."""
    if far <= NEW:
        return -1
    uses_K = carried_P[uses : uses + PROTOTYPES]
    least = least_of(uses_K)
    spared = uses_K[least]
    return least if spared == 0.0 or (far > REPLACES and spared < SELDOM) else -1


@compiled
def _forget(carried_P: Float32, uses: int) -> None:
    """Decay the uses of each prototype."""
    for k in range(PROTOTYPES):
        left = carried_P[uses + k] * np.float32(FORGOTTEN**EVERY)
        carried_P[uses + k] = left if left > np.float32(LEAST_USED) else np.float32(0.0)
