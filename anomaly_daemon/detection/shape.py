"""The shape of a field's last values against the shapes that its stream has shown: a heartbeat that is left out, a cycle
that is cut short or runs backwards, a day of another kind.

Whether single values are ordinary and whether a linear law predicts them says little of a stream that repeats a shape: what
is odd there is a piece of it that is like no other, a discord (Keogh, Lin and Fu 2005). To hold each piece against all
before it a stream would have to keep them all; here it keeps a few prototypes of them and moves the nearest towards each
new one (vector quantisation: MacQueen 1967). A piece is the last values, averaged in twos, less their mean: how high it
stands is for other kinds to say. Some shapes, a steep edge for one, always fit less well than others, so each prototype
knows how far off those usually are that it is the nearest to. Evidence is the moving average of squared distances, in
those.

Values that are missing leave no gap: the last ones are those that there were.

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
"""Times these a word is its highest number, and what is left of it its middle one, and a fraction."""

KNOWN_AFTER, TRUSTED_AFTER = 100, 200
"""Pieces before there is a usual distance, and before their evidence counts."""

NEW = 1.0
"""While there is room, a piece that is further off than so many usual distances is a prototype of its own ..."""

REPLACES = 4.0
"""... and later one that is this far off takes the place of the one least used ..."""

SELDOM = 1.5
"""... where that stood for fewer pieces than this."""

FORGOTTEN, EVERY = 0.9998, 32
"""What is left of a use after each piece; it is taken off after so many."""

LEAST_USED = 1e-3
"""A prototype that is used less than this is none."""

SLOWEST = 0.005
"""A prototype moves at least so much of the way to a piece that it is the nearest to."""

OWN_AFTER = 20.0
"""Uses after which what is usual of a prototype is as much its own as everybody's."""

MEMORY = 4000.0
"""Pieces that the usual distance is a mean over."""

FLOOR = UNIT**-2
"""The least usual distance, in variances of the field: one whole number may be the rounding."""

WINSOR = 20.0
"""A squared distance counts for at most so many usual ones ..."""

WINSOR_AFTER = 20
"""... once it is not among the first."""

EVENTS = 7.0
"""The window of the moving average."""


class At(NamedTuple):
    """Where a row has them. Among what is carried, a row of each a field:"""

    prototypes: int
    """`PROTOTYPES` pieces, packed: the first word of each, then the second ..."""
    uses: int
    """... how many pieces each was the nearest to, the older the less ..."""
    own: int
    """... and how far off those are: squared, a number of a piece."""
    usual: int
    """The same of all pieces."""
    slow: int
    """The moving average of a distance in usual ones."""
    count: int  # type: ignore[assignment]  # hides a method of tuples that nothing asks for


class Met(NamedTuple):
    """Of a value; NaN where nothing is known."""

    slow: float
    """Moving average of the squared distances, in usual ones."""
    expected: float
    """Where the nearest prototype ends, in deviations from the level."""
    scale: float
    """The standard deviation of what comes from that."""
    off: float
    """How far from the prototype the piece is where that is most, in deviations ..."""
    there: float
    """... and where the prototype stands there."""


class Nearest(NamedTuple):
    """Of the prototypes."""

    k: int
    """Which; -1 where there is none."""
    distance: float
    """Squared, a number of the piece."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    own = [Column(f"shape_{name}", (numeric, PROTOTYPES)) for name in At._fields[1:3]]
    pieces = Column("shape_prototypes", (numeric, WORDS, PROTOTYPES))
    return [pieces, *own], [Column(f"shape_{name}", (numeric,)) for name in At._fields[3:]]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"shape_{name}") for name in At._fields))


@compiled
def begin(carried_P: Float32, row_Q: Float64, at: At, d: int) -> None:
    """Of field `d` anew."""
    row_Q[at.count + d] = row_Q[at.slow + d] = row_Q[at.usual + d] = 0.0
    for k in range(PROTOTYPES):
        carried_P[at.uses + d * PROTOTYPES + k] = 0.0


@compiled
def meet(carried_P: Float32, row_Q: Float64, at: At, d: int, recent: int, window: Window, near_K: Float32) -> Met:
    """Hold the last values of field `d`, which stand at `recent` among what is carried, the newest first, against the
    shapes before them, and learn theirs. For each new value once. `near_K`: room for `PROTOTYPES` distances."""
    if isnan(carried_P[recent + VALUES - 1]):  # of before a gap
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
    """Of the prototypes that are used."""
    _distances(carried_P, _place(at, d, 0), at.uses + d * PROTOTYPES, piece, near_K)
    k = least_of(near_K[:PROTOTYPES])
    far = float(near_K[k]) / (LENGTH * UNIT * UNIT)
    return Nearest(k, far) if far < inf else Nearest(-1, 0.0)


@compiled
def _distances(carried_P: Float32, first: int, uses: int, piece: Piece, near_K: Float32) -> None:
    """From each prototype, squared: several at once, in single precision and without a branch."""
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
    """Of a prototype's first word; the second is `PROTOTYPES` further."""
    return at.prototypes + d * WORDS * PROTOTYPES + k


@compiled
def _fits(carried_P: Float32, at: At, d: int, k: int, usual: float) -> float:
    """What is usual of the pieces that this prototype is the nearest to: its own, the more of them there were."""
    own, uses = float(carried_P[at.own + d * PROTOTYPES + k]), float(carried_P[at.uses + d * PROTOTYPES + k])
    return max((own * uses + usual * OWN_AFTER) / (uses + OWN_AFTER), FLOOR)


@compiled
def _learn(carried_P: Float32, at: At, d: int, piece: Piece, nearest: Nearest, usual: float, turn: int) -> None:
    """The piece is a prototype of its own, or moves the nearest one. `turn`: of the rounding."""
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
    """The place for a piece that is so far off, in usual distances: of the prototype used least, where it may go; or -1."""
    if far <= NEW:
        return -1
    uses_K = carried_P[uses : uses + PROTOTYPES]
    least = least_of(uses_K)
    spared = uses_K[least]
    return least if spared == 0.0 or (far > REPLACES and spared < SELDOM) else -1


@compiled
def _forget(carried_P: Float32, uses: int) -> None:
    """Each use counts for a little less."""
    for k in range(PROTOTYPES):
        left = carried_P[uses + k] * np.float32(FORGOTTEN**EVERY)
        carried_P[uses + k] = left if left > np.float32(LEAST_USED) else np.float32(0.0)
