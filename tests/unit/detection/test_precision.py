"""Triangular matrices that are stored in a row: their inverse, and their product with a vector."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import precision


def triangle_of(
    whole_DD: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return the lower triangle among other carried numbers, two before it and one after it."""
    return np.concatenate([[9.0, 9.0], whole_DD[np.tril_indices(len(whole_DD))], [9.0]]).astype(np.float32)


@pytest.mark.parametrize("fields", [1, 2, 5, 8, 38])
def test_a_triangle_times_a_vector_is_the_whole_matrix_times_it(fields: int) -> None:
    half_DD, z_D = np.random.default_rng(0).normal(size=(2, fields, fields))[0], np.linspace(-3.0, 2.0, fields)
    whole_DD = (half_DD + half_DD.T).astype(np.float32).astype(np.float64)
    found_D = np.full(fields, np.nan)
    precision.times(triangle_of(whole_DD), 2, z_D, found_D)
    assert found_D == pytest.approx(whole_DD @ z_D, rel=1e-12, abs=1e-12)


def test_each_sum_is_taken_in_the_order_of_the_fields() -> None:
    """So a field's sum is the same to the last bit, however many fields are computed at once (law L5)."""
    whole_DD = np.random.default_rng(1).normal(size=(7, 7))
    whole_DD = (whole_DD + whole_DD.T).astype(np.float32).astype(np.float64)
    z_D, found_D = np.random.default_rng(2).normal(size=7), np.empty(7)
    precision.times(triangle_of(whole_DD), 2, z_D, found_D)
    for d in range(7):
        total = 0.0
        for e in range(7):
            total += whole_DD[d, e] * z_D[e]
        assert found_D[d] == total
