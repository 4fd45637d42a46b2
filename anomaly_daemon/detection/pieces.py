"""A piece of a stream: its last values, averaged in pairs, less their mean; and how pieces are packed into a row.

The numbers of a packed piece are integers of 8 bits, in sixteenths of a standard deviation. Three of them share one
number of the row, because unpacked pieces would be the largest part of a row. A change by less than a whole integer is
rounded up as often as its fraction requires.

Shapes: P carried numbers of a row.
"""

from __future__ import annotations

from math import floor
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float32

LENGTH = 6
"""How many numbers a piece has, each the mean of two values."""

VALUES = 2 * LENGTH

WORDS = 2
"""How many numbers of the row hold a packed piece."""

UNIT = 16.0
"""Integer steps per standard deviation."""

ZERO, MOST = 128.0, 255.0
"""The integer that stands for 0, and the largest integer: so a piece lies within eight standard deviations of its mean.
"""

FIRST, SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
HALF, TEN_BITS, THOUSAND = np.uint64(33), np.uint64(10), np.uint64(1023)
"""Constants of the final mixing step of MurmurHash3 (Appleby 2011), and of taking ten of its bits at a time."""


class Piece(NamedTuple):
    """The last values as means of pairs, the oldest first: distances from their mean, in `UNIT` steps and offset by
    `ZERO`."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float


@compiled
def mean_of(carried_P: Float32, recent: int) -> float:
    """Return the mean of the last `VALUES` values, which are stored from `recent` on, the newest first."""
    total = 0.0
    for i in range(VALUES):
        total += carried_P[recent + i]
    return total / VALUES


@compiled
def piece_of(carried_P: Float32, recent: int, mean: float) -> Piece:
    """Return the piece of the values at `recent`, whose mean is `mean`."""
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
def unpacked(carried_P: Float32, place: int, further: int) -> Piece:
    """Unpack a piece. Each word has three numbers of 8 bits, and a float32 holds those 24 bits exactly. `further`: the
    distance from the first word to the second."""
    older, newer = int(carried_P[place]), int(carried_P[place + further])
    return Piece(
        float(older & 255),
        float(older >> 8 & 255),
        float(older >> 16),
        float(newer & 255),
        float(newer >> 8 & 255),
        float(newer >> 16),
    )


@compiled
def largest(piece: Piece, held: Piece) -> tuple[float, float]:
    """Return the largest difference between two pieces, with its sign, and the second piece's number at that place,
    both in standard deviations."""
    most, there = piece.f - held.f, held.f
    for of, by in ((piece.a, held.a), (piece.b, held.b), (piece.c, held.c), (piece.d, held.d), (piece.e, held.e)):
        if abs(of - by) > abs(most):
            most, there = of - by, by
    return most / UNIT, (there - ZERO) / UNIT


@compiled
def move(carried_P: Float32, place: int, further: int, piece: Piece, rate: float, turn: int) -> None:
    """Move the packed piece at `place` towards `piece`, by the share `rate` of the way. `turn` decides what is rounded
    up: evenly, and independently of anything that a stream repeats."""
    held, bits = unpacked(carried_P, place, further), _mixed(turn)
    a, b = _rounded(held.a, piece.a, rate, bits), _rounded(held.b, piece.b, rate, bits >> TEN_BITS)
    bits = bits >> TEN_BITS >> TEN_BITS
    c, d = _rounded(held.c, piece.c, rate, bits), _rounded(held.d, piece.d, rate, bits >> TEN_BITS)
    bits = bits >> TEN_BITS >> TEN_BITS
    e, f = _rounded(held.e, piece.e, rate, bits), _rounded(held.f, piece.f, rate, bits >> TEN_BITS)
    carried_P[place] = a + 256.0 * b + 65536.0 * c
    carried_P[place + further] = d + 256.0 * e + 65536.0 * f


@compiled
def _mixed(turn: int) -> np.uint64:
    bits = np.uint64(turn)
    bits = (bits ^ (bits >> HALF)) * FIRST
    bits = (bits ^ (bits >> HALF)) * SECOND
    return bits ^ (bits >> HALF)


@compiled
def _rounded(held: float, x: float, rate: float, bits: np.uint64) -> float:
    """Return the moved number, rounded up as often as its fraction requires. A piece that is taken over unchanged (a
    rate of 1) is rounded to the nearest integers."""
    up = float(bits & THOUSAND) / 1024.0 if rate < 1.0 else 0.5
    return float(floor(held + rate * (x - held) + up))
