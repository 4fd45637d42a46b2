"""All fields at once: how far the moment is from those that the stream has shown (Mahalanobis 1936).

Each field may be ordinary, and each explained by the others as badly as ever, and yet all of them together stand where they
never stood. In deviations z from their long means the distance is z' P z, with P the inverse of their covariance, which
`relation` keeps. It is taken over the last few events, and each field's part of it is z_d (P z)_d.

A field that rests most of the time takes no part: its covariance is that of its few moves. Nor does one of which too little
is known, because it came late, nor one that is missing, of which `relation` takes what the others say.

Shapes: P carried numbers and Q statistics of a row, D numeric features.
"""

from __future__ import annotations

from math import nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection import errors, precision
from anomaly_daemon.detection.averages import Window
from anomaly_daemon.detection.errors import Sides
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.precision import place
from anomaly_daemon.detection.state import Column, StateLayout

RIDGE = 0.01
"""Added to each field's variance, which is about 1: what is nearly the same is held apart by a tenth of a deviation."""

TRUSTED_AFTER = 1000
"""Values of a field before it takes part: of fewer its covariance with many others is not known."""

EVENTS = 4.0
"""The window of its moving average."""


class At(NamedTuple):
    """Where a row has them."""

    covariance: int
    """Of `relation`."""
    inverse: int
    """A triangle among what is carried."""
    part: int
    """Each field's part of the distance, its moving average."""


def columns(fields: int) -> tuple[list[Column], list[Column]]:
    """What a row must hold: (carried, statistics)."""
    return [Column("joint_inverse", (fields * (fields + 1) // 2,))], [Column("joint_part", (fields,))]


def at(layout: StateLayout) -> At:
    """Where the rows of this layout hold them."""
    return At(*(layout.start(name) for name in ("relation_covariance", "joint_inverse", "joint_part")))


@compiled
def meet(
    carried_P: Float32, row_Q: Float64, at: At, standing_D: Float64, sides: Sides, window: Window, product_D: Float64
) -> float:
    """The distance of the last few events, in what it usually is of as many fields that are independent (1). NaN where
    fewer than two take part. `product_D`: room to compute in."""
    numeric, there, total = len(standing_D), 0, 0.0
    for d in range(numeric):
        there += _takes_part(carried_P, at, d)
    if there < 2:
        return nan
    precision.times(carried_P, at.inverse, standing_D, product_D)
    for d in range(numeric):
        part, unexplained = 0.0, product_D[d]
        if _takes_part(carried_P, at, d):
            # to the side that counts: a field that errs to the other has no part
            part = standing_D[d] * unexplained / there if errors.counted(sides, d, unexplained) != 0.0 else 0.0
        row_Q[at.part + d] += window.rate * (part - row_Q[at.part + d])
        total += row_Q[at.part + d]
    return max(total, 0.0)


@compiled
def _takes_part(carried_P: Float32, at: At, d: int) -> bool:
    """As it was when the covariance was inverted: the inverse is that of the fields which did."""
    return bool(carried_P[at.inverse + place(d, d)] > 0.0)


@compiled
def learn(carried_P: Float32, at: At, apart_D: npt.NDArray[np.bool_], square_DD: Float64) -> None:
    """From the covariance as it is now, but for these fields."""
    precision.invert(carried_P, at.covariance, at.inverse, RIDGE, apart_D, square_DD)
    for d in range(len(apart_D)):
        if apart_D[d]:
            carried_P[at.inverse + place(d, d)] = 0.0


@compiled
def share_out(row_Q: Float64, at: At, distance: float, part_D: Float64) -> None:
    """The distance as evidence has it: parts of its square, of the fields that add to it."""
    whole = 0.0
    for d in range(len(part_D)):
        part_D[d] = max(row_Q[at.part + d], 0.0)
        whole += part_D[d]
    for d in range(len(part_D)):
        part_D[d] *= distance * distance / whole if whole > 0 else 0.0
