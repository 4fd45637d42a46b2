"""Tests of each error formula in which one input is changed at a time (deep-river once scored loss(x, x), and no test
noticed)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly_daemon.detection.errors import (
    Sides,
    category_errors,
    counted,
    counted_of_head,
    prediction_error,
    reconstruction_errors,
    weigh,
)
from anomaly_daemon.detection.observation import Direction, Numeric

NAN = np.nan


def sides(*directions: Direction) -> Sides:
    return Sides.of([Numeric(f"x{at}", direction=one) for at, one in enumerate(directions)])


BOTH, ABOVE = sides(Direction.BOTH), sides(Direction.ABOVE)


def terms(standard_B2F: np.ndarray, weight: float) -> np.ndarray:
    """Return what each head and each feature adds to the score."""
    parts_B2F = standard_B2F.copy()
    for part_2F in parts_B2F:
        weigh(part_2F, weight)
    return parts_B2F


def rebuilt_wrongly(window_RD: np.ndarray, rebuilt_RD: np.ndarray, of: Sides) -> list[float]:
    """Return the reconstruction error of each feature."""
    there_D, found_D = np.empty(window_RD.shape[1]), np.empty(window_RD.shape[1])
    reconstruction_errors(window_RD.astype(np.float32), rebuilt_RD.astype(np.float32), of, there_D, found_D)
    return found_D.tolist()


def test_a_prediction_error_moves_with_value_location_and_scale() -> None:
    squashed = float(np.arcsinh(20.0))
    assert prediction_error(squashed, 0.0, 1.0) == pytest.approx((20.0, 20.0))
    assert prediction_error(0.0, squashed, 1.0) == pytest.approx((-20.0 / np.sqrt(401.0), -20.0))
    assert prediction_error(squashed, 0.0, 4.0) == pytest.approx((5.0, 20.0))
    assert np.isnan(prediction_error(NAN, 0.0, 1.0)).all()


def test_a_category_error_is_zero_for_the_likeliest_class_and_grows_with_rarity() -> None:
    log_share = np.log(np.array([[0.7, 0.29, 0.01]] * 3))
    likely, less, rare = category_errors(log_share, np.array([0.0, 1.0, 2.0]))
    assert likely == 0.0
    assert less == pytest.approx(np.sqrt(2 * np.log(0.7 / 0.29)))
    assert rare > less
    assert np.isnan(category_errors(log_share[:1], np.array([NAN]))[0])


def test_a_reconstruction_error_moves_with_window_and_rebuilt() -> None:
    window, rebuilt = np.zeros((4, 1)), np.zeros((4, 1))
    assert rebuilt_wrongly(window, rebuilt, BOTH) == [0.0]
    assert rebuilt_wrongly(window + 3, rebuilt, BOTH) == [3.0]
    assert rebuilt_wrongly(window, rebuilt + 3, BOTH) == [3.0]
    window[:2] = NAN
    rebuilt[:2] = 100
    assert rebuilt_wrongly(window, rebuilt, BOTH) == [0.0]
    assert np.isnan(rebuilt_wrongly(window + NAN, rebuilt, BOTH)).all()


def test_each_features_reconstruction_error_is_its_own() -> None:
    window = np.array([[3.0, NAN, 1.0, -3.0, NAN], [3.0, 2.0, -1.0, 3.0, NAN]])
    found = rebuilt_wrongly(window, np.zeros((2, 5)), sides(*([Direction.BOTH] * 3), Direction.ABOVE, Direction.BOTH))
    assert found[:4] == pytest.approx([3.0, 2.0, 1.0, np.sqrt(4.5)])
    assert np.isnan(found[4])


@pytest.mark.parametrize(("weight", "total"), [(0.0, 16.0), (0.5, 10.0), (1.0, 4.0)])
def test_the_score_weighs_the_heads(weight: float, total: float) -> None:
    standard = np.array([[[2.0, -2.0], [4.0, 4.0]]])
    assert terms(standard, weight).sum() == total


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("head", [0, 1])
def test_each_heads_error_moves_the_score_by_its_weight(weight: float, head: int) -> None:
    standard = np.ones((1, 2, 3))
    moved = standard.copy()
    moved[0, head, 1] = 2.0
    share = weight if head == 0 else 1.0 - weight
    assert terms(moved, weight).sum() - terms(standard, weight).sum() == pytest.approx(share * 3.0 / 3.0)


def test_a_head_that_knows_nothing_leaves_its_weight_to_the_other() -> None:
    standard = np.array([[[2.0, NAN], [NAN, NAN]]])
    for weight in (0.0, 0.5, 1.0):
        assert terms(standard, weight).sum() == 4.0


def test_nothing_known_is_not_a_number() -> None:
    assert np.isnan(terms(np.full((1, 2, 3), NAN), 0.5)).all()


@given(arrays(np.float64, (3, 2, 4), elements=st.floats(-1e200, 1e200) | st.just(NAN)), st.floats(0, 1))
def test_parts_add_up_to_a_finite_score(standard: np.ndarray, weight: float) -> None:
    with np.errstate(over="ignore"):
        parts = terms(standard, weight)
    known = ~np.isnan(standard).all(axis=(1, 2))
    assert np.isfinite(parts[known]).all()
    assert (parts[known] >= 0).all()


def test_a_huge_error_counts_by_its_logarithm_and_a_larger_one_for_more() -> None:
    sizes = np.array([1.0, 10.0, 1e3, 1e9, 1e200])
    told = np.array([terms(np.array([[[size], [NAN]]]), 0.5).sum() for size in sizes])
    assert told[:2] == pytest.approx([1.0, 100.0])
    assert (np.diff(told) > 0).all()
    assert told[3] < 500.0


def test_a_field_with_one_side_errs_on_that_side_alone() -> None:
    every, errs = sides(Direction.BOTH, Direction.ABOVE, Direction.BELOW), range(3)
    assert [counted(every, d, 2.0) for d in errs] == [2.0, 2.0, 0.0]
    assert [counted(every, d, -2.0) for d in errs] == [-2.0, 0.0, -2.0]
    assert all(np.isnan(counted(every, d, NAN)) for d in errs)

    window, rebuilt = np.full((4, 1), 3.0), np.zeros((4, 1))
    assert rebuilt_wrongly(window, rebuilt, ABOVE) == [3.0]
    assert rebuilt_wrongly(-window, rebuilt, ABOVE) == [0.0]


def test_of_a_field_with_one_side_no_head_speaks_for_a_small_error() -> None:
    every = sides(Direction.BOTH, Direction.ABOVE)
    assert [counted_of_head(every, 0, f, -2.0, -2.0) for f in range(3)] == [-2.0, 0.0, -2.0]  # the third is a category
    assert [counted_of_head(every, 1, f, -3.0, 1.0) for f in range(3)] == [-3.0, 0.0, -3.0]
    assert counted_of_head(every, 1, 1, 3.0, 1.0) == 3.0
    assert np.isnan(counted_of_head(every, 1, 1, NAN, 1.0))


def test_of_a_field_with_one_side_what_is_rebuilt_badly_is_no_error_of_a_value_on_the_other() -> None:
    every, errs = sides(Direction.BOTH, Direction.ABOVE, Direction.BELOW), range(4)  # the fourth is a category
    assert [counted_of_head(every, 1, f, 3.0, -0.5) for f in errs] == [3.0, 0.0, 3.0, 3.0]
    assert [counted_of_head(every, 1, f, 3.0, 0.5) for f in errs] == [3.0, 3.0, 0.0, 3.0]
    assert [counted_of_head(every, 1, f, 3.0, NAN) for f in errs] == [3.0] * 4
    assert [counted_of_head(every, 1, f, 3.0, 0.0) for f in errs] == [3.0] * 4
