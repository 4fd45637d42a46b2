from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import moments, rhythm
from anomaly_daemon.detection.state import StateLayout

LAYOUT = StateLayout([], rhythm.columns(2))
AT = rhythm.at(LAYOUT)


def left_after(off_N: np.ndarray, d: int = 0, pace: float = 1.0, scale: float = 1.0, slowest: float = 1e-4) -> float:
    (row_Q,) = LAYOUT.blank(1).statistics_BQ
    for off in off_N:
        rhythm.meet(row_Q, AT, d, off, scale, slowest, pace)
    return rhythm.left(row_Q, AT, d)


def test_nothing_is_explained_before_anything_is_known() -> None:
    assert left_after(np.empty(0)) == 1.0
    assert left_after(np.full(5, np.nan)) == 1.0


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_the_share_that_is_left_is_the_mean_square_in_units_of_the_level(share: float) -> None:
    off_N = np.random.default_rng(1).normal(0, share**0.5, 3000)
    assert left_after(off_N) == pytest.approx(share, abs=0.03)
    assert left_after(off_N, d=1) == pytest.approx(share, abs=0.03)


def test_residuals_are_in_units_of_the_level() -> None:
    off_N = np.random.default_rng(1).normal(0, 0.6, 3000)
    assert left_after(off_N, scale=2.0) == pytest.approx(left_after(off_N / 2.0))
    assert left_after(off_N, scale=2.0) < 0.5 * left_after(off_N)


def test_what_was_long_ago_is_forgotten_at_the_pace_of_the_memory() -> None:
    off_N = np.repeat([0.9, 0.1], 1000)
    assert left_after(off_N, slowest=1e-2) < 0.05 < 0.3 < left_after(off_N, slowest=1e-4)


def test_a_profile_that_is_worse_than_the_mean_explains_nothing() -> None:
    assert left_after(np.random.default_rng(2).normal(0, 3.0, 300)) == 1.0


def test_a_value_far_off_counts_no_more_than_in_the_variance_of_the_level() -> None:
    calm_N = np.zeros(2000)
    calm_N[1000] = 1e9
    assert left_after(calm_N) == pytest.approx(moments.WINSOR**2 / 2000 + rhythm.SETTLES / 2030, rel=0.1)


def test_few_residuals_explain_little() -> None:
    assert left_after(np.zeros(30)) == pytest.approx(0.5)
    assert rhythm.LEAST <= left_after(np.zeros(10_000)) < 0.01


def test_what_was_learned_slowly_explains_no_more() -> None:
    assert left_after(np.random.default_rng(4).normal(size=300), pace=0.2) > 0.85


def test_a_reset_forgets_one_field() -> None:
    (row_Q,) = LAYOUT.blank(1).statistics_BQ
    for d in range(2):
        for _ in range(100):
            rhythm.meet(row_Q, AT, d, 0.1, 1.0, 1e-4, 1.0)
    rhythm.begin(row_Q, AT, 0)
    assert rhythm.left(row_Q, AT, 0) == 1.0
    assert rhythm.left(row_Q, AT, 1) < 0.5
