"""The shape of a field's last values against the shapes that its stream has shown: a heartbeat that is left out, a cycle
that is cut short or runs backwards, a day of another kind.

Whether single values are ordinary and whether a linear law predicts them says little of a stream that repeats a shape: what
is odd there is a piece of it that is like no other, a discord (Keogh, Lin and Fu 2005). To hold each piece against all
before it a stream would have to keep them all; here it keeps a few prototypes of them and moves the nearest towards each
new one (vector quantisation: MacQueen 1967). A piece is the last values, averaged in twos, less their mean: how high it
stands is for other kinds to say. Some shapes, a steep edge for one, always fit less well than others, so each prototype
knows how far off those usually are that it is the nearest to. Evidence is the moving average of squared distances, in
those.

A prototype's numbers are whole ones of 8 bits, in sixteenths of a deviation, three of them in one number of the row: of all
that a row keeps they would else be the most. As they move by less than one, they are rounded up as often as is due.

Values that are missing leave no gap: the last ones are those that there were.

Shapes: P carried numbers and Q statistics of a row.
"""

from __future__ import annotations

from math import floor, inf, nan, sqrt
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.averages import Window, moved
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.state import Column, StateLayout

LENGTH = 6
"""Numbers of a piece, each the mean of two values."""

VALUES = 2 * LENGTH

WORDS = 2
"""Numbers of the row that hold a piece."""

UNIT = 16.0
"""Whole numbers to a deviation ..."""

ZERO, MOST = 128.0, 255.0
"""... which of them stands for 0, and the largest: so a piece lies within eight deviations of its mean."""

GOLDEN = 0.6180339887498949
"""Its multiples, less what is whole of them, are spread evenly from the first on (Weyl 1916)."""

PROTOTYPES = 32

KNOWN_AFTER, TRUSTED_AFTER = 100, 200
"""Pieces before there is a usual distance, and before their evidence counts."""

NEW = 1.0
"""While there is room, a piece that is further off than so many usual distances is a prototype of its own ..."""

REPLACES = 4.0
"""... and later one that is this far off takes the place of the one least used ..."""

SELDOM = 1.5
"""... where that stood for fewer pieces than this."""

FORGOTTEN = 0.9998
"""What is left of a use after each piece."""

LEAST_USED = 1e-3
"""A prototype that is used less than this is none."""

SLOWEST = 0.005
"""A prototype moves at least so much of the way to a piece that it is the nearest to."""

OWN_AFTER = 20.0
"""Uses after which what is usual of a prototype is as much its own as everybody's."""

MEMORY = 4000.0
"""Pieces that the usual distance is a mean over."""

FLOOR = 1e-3
"""The least usual distance, in variances of the field: a thirtieth of a deviation may be noise."""

WINSOR = 20.0
"""A squared distance counts for at most so many usual ones ..."""

WINSOR_AFTER = 20
"""... once it is not among the first."""

EVENTS = 7.0
"""The window of the moving average."""


class At(NamedTuple):
    """Where a row has them. Among what is carried, a row of each a field:"""

    prototypes: int
    """`PROTOTYPES` pieces, one after the other, packed ..."""
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


class Piece(NamedTuple):
    """The last values as the means of two, the oldest first: how far from their mean, from `ZERO` and in units."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float


class Nearest(NamedTuple):
    """Of the prototypes."""

    k: int
    """Which; -1 where there is none."""
    distance: float
    """Squared, a number of the piece."""


def columns(numeric: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    own = [Column(f"shape_{name}", (numeric, PROTOTYPES)) for name in At._fields[1:3]]
    pieces = Column("shape_prototypes", (numeric, PROTOTYPES, WORDS))
    return [pieces, *own], [Column(f"shape_{name}", (numeric,)) for name in At._fields[3:]]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(f"shape_{name}") for name in At._fields))


@compiled
def meet(carried_P: Float32, row_Q: Float64, at: At, d: int, recent: int, window: Window) -> Met:
    """Hold the last values of field `d`, which stand at `recent` among what is carried, the newest first, against the
    shapes before them, and learn theirs. For each new value once."""
    count = row_Q[at.count + d] = row_Q[at.count + d] + 1.0
    if count < VALUES:
        return Met(nan, nan, nan)
    mean, usual = _mean(carried_P, recent), max(row_Q[at.usual + d], FLOOR)
    piece = _piece(carried_P, recent, mean)
    nearest = _nearest(carried_P, at, d, piece)
    slow, expected, scale = nan, nan, nan
    if count >= KNOWN_AFTER:
        fits = _fits(carried_P, at, d, nearest.k, usual)
        slow = moved(row_Q, at.slow + d, min(nearest.distance / fits, WINSOR), window)
        last = _unpacked(carried_P, at.prototypes + (d * PROTOTYPES + nearest.k) * WORDS).f
        expected, scale = mean + (last - ZERO) / UNIT, sqrt(fits)
    _learn(carried_P, at, d, piece, nearest, usual, count * GOLDEN)
    pieces = count - VALUES + 1.0
    off = min(nearest.distance, WINSOR * usual) if pieces > WINSOR_AFTER else nearest.distance
    row_Q[at.usual + d] += max(1.0 / pieces, 1.0 / MEMORY) * (off - row_Q[at.usual + d])
    return Met(slow if count >= TRUSTED_AFTER else nan, expected, scale)


@compiled
def _mean(carried_P: Float32, recent: int) -> float:
    total = 0.0
    for i in range(VALUES):
        total += carried_P[recent + i]
    return total / VALUES


@compiled
def _piece(carried_P: Float32, recent: int, mean: float) -> Piece:
    return Piece(
        _pair(carried_P, recent + 10, mean),
        _pair(carried_P, recent + 8, mean),
        _pair(carried_P, recent + 6, mean),
        _pair(carried_P, recent + 4, mean),
        _pair(carried_P, recent + 2, mean),
        _pair(carried_P, recent, mean),
    )


@compiled
def _pair(carried_P: Float32, newer: int, mean: float) -> float:
    off = 0.5 * (float(carried_P[newer]) + float(carried_P[newer + 1])) - mean
    return min(max(off * UNIT + ZERO, 0.0), MOST)


@compiled
def _nearest(carried_P: Float32, at: At, d: int, piece: Piece) -> Nearest:
    """Of the prototypes that are used."""
    uses, least, place = at.uses + d * PROTOTYPES, inf, -1
    for k in range(PROTOTYPES):
        held = _unpacked(carried_P, at.prototypes + (d * PROTOTYPES + k) * WORDS)
        first = (piece.a - held.a) ** 2 + (piece.b - held.b) ** 2
        second = (piece.c - held.c) ** 2 + (piece.d - held.d) ** 2
        third = (piece.e - held.e) ** 2 + (piece.f - held.f) ** 2
        square = first + second + third
        if square < least and carried_P[uses + k] > 0.0:
            place, least = k, square
    return Nearest(place, least / (LENGTH * UNIT * UNIT) if place >= 0 else 0.0)


@compiled
def _unpacked(carried_P: Float32, place: int) -> Piece:
    """Three numbers of 8 bits in each word, which holds 24 exactly."""
    older, newer = np.int32(carried_P[place]), np.int32(carried_P[place + 1])
    return Piece(
        float(older & 255),
        float(older >> 8 & 255),
        float(older >> 16),
        float(newer & 255),
        float(newer >> 8 & 255),
        float(newer >> 16),
    )


@compiled
def _moved(held: float, x: float, rate: float, turn: float) -> float:
    """A whole number that far of the way to `x`. `turn` says what of it is rounded up: its fraction is spread evenly."""
    return floor(held + rate * (x - held) + turn - floor(turn))


@compiled
def _fits(carried_P: Float32, at: At, d: int, k: int, usual: float) -> float:
    """What is usual of the pieces that this prototype is the nearest to: its own, the more of them there were."""
    own, uses = float(carried_P[at.own + d * PROTOTYPES + k]), float(carried_P[at.uses + d * PROTOTYPES + k])
    return max((own * uses + usual * OWN_AFTER) / (uses + OWN_AFTER), FLOOR)


@compiled
def _learn(carried_P: Float32, at: At, d: int, piece: Piece, nearest: Nearest, usual: float, turn: float) -> None:
    """The piece is a prototype of its own, or moves the nearest one. `turn`: of the rounding."""
    uses, own = at.uses + d * PROTOTYPES, at.own + d * PROTOTYPES
    free = _forget(carried_P, uses)
    spared = float(carried_P[uses + free])
    far = nearest.distance > (REPLACES if spared > 0.0 else NEW) * usual
    k, rate = nearest.k, 1.0
    if k < 0 or (far and spared < SELDOM):
        k, carried_P[uses + free], carried_P[own + free] = free, 1.0, usual
    else:
        carried_P[uses + k] += np.float32(1.0)
        rate = max(1.0 / (carried_P[uses + k] + 1.0), SLOWEST)
        carried_P[own + k] += rate * (min(nearest.distance, WINSOR * usual) - carried_P[own + k])
    place = at.prototypes + (d * PROTOTYPES + k) * WORDS
    held = _unpacked(carried_P, place)
    a, b, c = (
        _moved(held.a, piece.a, rate, turn),
        _moved(held.b, piece.b, rate, turn + 1.0 / 6.0),
        _moved(held.c, piece.c, rate, turn + 2.0 / 6.0),
    )
    e, f, g = (
        _moved(held.d, piece.d, rate, turn + 3.0 / 6.0),
        _moved(held.e, piece.e, rate, turn + 4.0 / 6.0),
        _moved(held.f, piece.f, rate, turn + 5.0 / 6.0),
    )
    carried_P[place] = a + 256.0 * b + 65536.0 * c
    carried_P[place + 1] = e + 256.0 * f + 65536.0 * g


@compiled
def _forget(carried_P: Float32, uses: int) -> int:
    """Each use counts for a little less; the prototype that is used least."""
    free = 0
    for k in range(PROTOTYPES):
        left = carried_P[uses + k] * np.float32(FORGOTTEN)
        carried_P[uses + k] = left if left > LEAST_USED else np.float32(0.0)
    for k in range(PROTOTYPES):
        free = k if carried_P[uses + k] < carried_P[uses + free] else free
    return free
