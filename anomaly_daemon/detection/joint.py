"""Joint evidence: all fields at once. It measures how far the present values are from those that the stream has shown
(Mahalanobis 1936).

Each field may be ordinary, and explained by the others no worse than usual, and yet all of them together may be where
they never were. With z the deviations from the fields' long-term means, the distance is z' P z, where P is the inverse
of their covariance, which `relation` keeps. The distance is averaged over the last few events, and the part of field d
in it is z_d (P z)_d.

A field that rests most of the time is excluded, because its covariance is that of its few moves. A field of which too
little is known, because it came late, is excluded, too. For a missing field `relation` takes the value that follows
from the others.

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
"""Added to each field's variance, which is about 1: fields that are nearly the same differ by at least a tenth of a
standard deviation."""

TRUSTED_AFTER = 1000
"""Number of values of a field before it takes part. From fewer values its covariance with many others is not known."""

EVENTS = 4.0
"""The window of the moving average of the parts."""


class At(NamedTuple):
    """Where these columns start in a row."""

    covariance: int
    """The covariance, which belongs to `relation`."""
    inverse: int
    """The inverse, a triangle among the carried columns."""
    part: int
    """Moving average of each field's part of the distance."""


def columns(fields: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that a row needs for this module: (carried, statistics)."""
    return [Column("joint_inverse", (fields * (fields + 1) // 2,))], [Column("joint_part", (fields,))]


def at(layout: StateLayout) -> At:
    """Return the places of these columns in rows of this layout."""
    return At(*(layout.start(name) for name in ("relation_covariance", "joint_inverse", "joint_part")))


@compiled
def meet(
    carried_P: Float32, row_Q: Float64, at: At, standing_D: Float64, sides: Sides, window: Window, product_D: Float64
) -> float:
    """Return the distance of the last few events, in units of its mean for as many independent fields (1); NaN if fewer
    than two fields take part. `product_D`: room to compute in."""
    numeric, there, total = len(standing_D), 0, 0.0
    for d in range(numeric):
        there += _takes_part(carried_P, at, d)
    if there < 2:
        return nan
    precision.times(carried_P, at.inverse, standing_D, product_D)
    for d in range(numeric):
        part, unexplained = 0.0, product_D[d]
        if _takes_part(carried_P, at, d):
            # only to the side that counts: a field that is off to the other side has no part
            part = standing_D[d] * unexplained / there if errors.counted(sides, d, unexplained) != 0.0 else 0.0
        row_Q[at.part + d] += window.rate * (part - row_Q[at.part + d])
        total += row_Q[at.part + d]
    return max(total, 0.0)


@compiled
def _takes_part(carried_P: Float32, at: At, d: int) -> bool:
    """Return whether a field took part when the covariance was inverted: the inverse is that of those fields."""
    return bool(carried_P[at.inverse + place(d, d)] > 0.0)


@compiled
def learn(carried_P: Float32, at: At, apart_D: npt.NDArray[np.bool_], square_DD: Float64) -> None:
    """Invert the present covariance, without the fields in `apart_D`."""
    precision.invert(carried_P, at.covariance, at.inverse, RIDGE, apart_D, square_DD)
    for d in range(len(apart_D)):
        if apart_D[d]:
            carried_P[at.inverse + place(d, d)] = 0.0


@compiled
def share_out(row_Q: Float64, at: At, distance: float, part_D: Float64) -> None:
    """Divide the distance, as evidence, among the fields that add to it: into parts of its square."""
    whole = 0.0
    for d in range(len(part_D)):
        part_D[d] = max(row_Q[at.part + d], 0.0)
        whole += part_D[d]
    for d in range(len(part_D)):
        part_D[d] *= distance * distance / whole if whole > 0 else 0.0
