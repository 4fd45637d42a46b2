"""Exponential and logarithm, compared with the C library's, and the minimum of several numbers, compared with numpy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly_daemon.detection import elementary
from anomaly_daemon.detection.observation import Float32


@given(st.lists(st.floats(-708.0, 709.0), min_size=1))
@settings(deadline=None)
def test_an_exponential_is_right_to_the_last_digits(x_N: list[float]) -> None:
    found_N = np.empty(len(x_N))
    elementary.exponentials(np.array(x_N), found_N)
    assert found_N == pytest.approx([math.exp(x) for x in x_N], rel=1e-15, abs=0.0)


@given(st.lists(st.floats(1e-300, 1e300) | st.floats(0.5, 2.0), min_size=1))
@settings(deadline=None)
def test_a_logarithm_is_right_to_the_last_digits(x_N: list[float]) -> None:
    found_N = np.empty(len(x_N))
    elementary.logarithms(np.array(x_N), found_N)
    assert found_N == pytest.approx([math.log(x) for x in x_N], rel=1e-15, abs=0.0)


def test_what_is_no_number_or_too_large_comes_out_as_from_the_c_library() -> None:
    x_N, found_N = np.array([np.nan, np.inf, -np.inf, 800.0, -800.0, 0.0]), np.empty(6)
    elementary.exponentials(x_N, found_N)
    assert np.array_equal(found_N, [np.nan, np.inf, 0.0, np.inf, 0.0, 1.0], equal_nan=True)
    x_N = np.array([np.nan, np.inf, 0.0, 1.0])
    elementary.logarithms(x_N, found_N[:4])
    assert np.array_equal(found_N[:4], [np.nan, np.inf, -np.inf, 0.0], equal_nan=True)


@given(
    st.sampled_from([4, 8, 16, 32]).flatmap(lambda many: arrays(np.float32, many, elements=st.floats(0.0, width=32)))
)
@settings(deadline=None)
def test_the_least_of_some_is_the_first_where_several_are(x_K: Float32) -> None:
    for found_K in (x_K, np.array([0.5, 2.0, np.inf, 0.5] * (len(x_K) // 4), np.float32)):
        assert elementary.least_of(found_K) == int(np.argmin(found_K))


@given(st.lists(st.floats(-700.0, 700.0), min_size=1, max_size=20))
@settings(deadline=None)
def test_the_same_bits_wherever_a_number_stands(x_N: list[float]) -> None:
    """A number has the same result among eight at once or alone (law L5)."""
    together_N, size_N = np.empty(len(x_N)), np.exp(np.array(x_N))
    logarithm_N = np.empty(len(x_N))
    elementary.exponentials(np.array(x_N), together_N)
    elementary.logarithms(size_N, logarithm_N)
    for n, x in enumerate(x_N):
        assert elementary.exp(x) == together_N[n]
        assert elementary.log(float(size_N[n])) == logarithm_N[n]
