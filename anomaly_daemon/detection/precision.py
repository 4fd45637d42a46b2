"""The inverse of a covariance that a row stores as a triangle, with a ridge: its precision matrix.

Shapes: P carried numbers of a row, D numeric features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float32, Float64

LEAST_SHARE = 1e-3
"""Once the covariances between fields are scaled down to this share or less, they are set to 0."""


@compiled
def invert(
    carried_P: Float32, covariance: int, inverse: int, ridge: float, apart_D: npt.NDArray[np.bool_], square_DD: Float64
) -> None:
    """Invert the triangle at `covariance` into the triangle at `inverse`. For the fields in `apart_D` the covariances
    with other fields are taken as 0. Where fields are often missing, the covariance of each pair comes from different
    events, and together they may not be a valid covariance matrix. The covariances between fields are then scaled down
    until they are. `square_DD`: work space."""
    numeric, share = len(square_DD), 1.0
    while not _inverted(carried_P, covariance, share, ridge, apart_D, square_DD):
        share = 0.5 * share if share > LEAST_SHARE else 0.0
    for d in range(numeric):
        for e in range(d + 1):
            carried_P[inverse + place(d, e)] = square_DD[d, e]


@compiled
def _inverted(
    carried_P: Float32, covariance: int, share: float, ridge: float, apart_D: npt.NDArray[np.bool_], square_DD: Float64
) -> bool:
    """Invert by Gauss-Jordan elimination in place, with the covariances between fields times `share`. Of a valid
    covariance matrix no pivot is below the ridge, so no pivot has to be searched for. Returns whether the matrix is
    valid."""
    numeric = len(square_DD)
    for d in range(numeric):
        for e in range(numeric):
            entry = float(carried_P[covariance + place(d, e)])
            square_DD[d, e] = entry + ridge if d == e else 0.0 if apart_D[d] or apart_D[e] else share * entry
    for k in range(numeric):
        pivot, square_DD[k, k] = square_DD[k, k], 1.0
        if pivot < 0.5 * ridge:
            return False
        for e in range(numeric):
            square_DD[k, e] /= pivot
        for d in range(numeric):
            if d != k:
                factor, square_DD[d, k] = square_DD[d, k], 0.0
                for e in range(numeric):
                    square_DD[d, e] -= factor * square_DD[k, e]
    return True


@compiled
def times(carried_P: Float32, triangle: int, z_D: Float64, found_D: Float64) -> None:
    """Multiply a triangle's symmetric matrix by a vector, into `found_D`. Each sum is taken in the order of the fields,
    and several sums are computed at once."""
    start = triangle
    for d in range(len(z_D)):
        row_E, total = carried_P[start : start + d + 1], 0.0
        for e in range(d):
            total += float(row_E[e]) * z_D[e]
        found_D[d] = total
        for e in range(d + 1):
            found_D[e] += float(row_E[e]) * z_D[d]
        start += d + 1


@compiled
def place(d: int, e: int) -> int:
    """Return the place of element (d, e) in a triangle that is stored row by row."""
    return d * (d + 1) // 2 + e if e <= d else e * (e + 1) // 2 + d
