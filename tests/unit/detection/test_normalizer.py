from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly_daemon.detection.normalizer import KNOWN_AFTER, At, Normalizer, NormalizerKind, Statistics, initial, learn

KINDS = list(NormalizerKind)


def after(series_T: np.ndarray, kind: NormalizerKind, memory: float = 2000.0) -> Statistics:
    normalizer, known = Normalizer(kind, memory), initial(1, 1)
    for value in series_T:
        known = normalizer.update(known, np.array([[value]]))
    return known


def test_standard_statistics_are_the_mean_and_standard_deviation() -> None:
    series = np.random.default_rng(0).normal(5, 2, 500)
    center, scale = Normalizer().center_scale(after(series, NormalizerKind.STANDARD))
    assert abs(center[0, 0] - series.mean()) < 0.05
    assert abs(scale[0, 0] - series.std()) < 0.1


def test_minmax_spans_the_range() -> None:
    series = np.random.default_rng(0).uniform(-3, 7, 400)
    center, scale = Normalizer(NormalizerKind.MINMAX).center_scale(after(series, NormalizerKind.MINMAX))
    assert abs(center[0, 0] - 2) < 0.6
    assert abs(scale[0, 0] - 5) < 0.8


def test_robust_statistics_withstand_a_tenth_of_outliers() -> None:
    generator = np.random.default_rng(0)
    series = generator.normal(0, 1, 2000)
    series[generator.random(2000) < 0.1] = 50
    center, _ = Normalizer(NormalizerKind.ROBUST).center_scale(after(series, NormalizerKind.ROBUST))
    assert abs(center[0, 0]) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_measured_by_the_values_before_it(kind: NormalizerKind) -> None:
    series = np.random.default_rng(0).normal(0, 1, (1, 60, 1))
    changed = series.copy()
    changed[0, 40:] += 100
    y, mask = Normalizer(kind).normalise_series(series)
    y_changed, _ = Normalizer(kind).normalise_series(changed)
    assert np.array_equal(y[0, :40], y_changed[0, :40])
    assert y_changed[0, 40, 0] > 4
    assert mask[0, :, 0].tolist() == [0.0] * KNOWN_AFTER + [1.0] * (60 - KNOWN_AFTER)


@pytest.mark.parametrize("kind", KINDS)
def test_denormalise_undoes_normalise(kind: NormalizerKind) -> None:
    normalizer, known = Normalizer(kind), after(np.random.default_rng(1).normal(3, 2, 50), kind)
    x = np.array([[7.25]])
    y, _ = normalizer.normalise(known, x)
    np.testing.assert_allclose(normalizer.denormalise(known, y.astype(np.float64)), x, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_outlier_moves_the_statistics_little(kind: NormalizerKind) -> None:
    series = np.random.default_rng(2).normal(0, 1, 300)
    normalizer = Normalizer(kind)
    before, _ = normalizer.center_scale(after(series, kind))
    center, scale = normalizer.center_scale(after(np.append(series, 1e9), kind))
    assert abs(center[0, 0] - before[0, 0]) < 8
    assert scale[0, 0] < 12


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_level_is_learned(kind: NormalizerKind) -> None:
    series = np.concatenate([np.random.default_rng(3).normal(0, 1, 500), np.random.default_rng(4).normal(20, 1, 2000)])
    center, _ = Normalizer(kind, memory=200).center_scale(after(series, kind, memory=200))
    assert abs(center[0, 0] - 20) < 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_series_has_a_floored_scale_and_no_deviation(kind: NormalizerKind) -> None:
    known = after(np.full(100, 5.0), kind)
    y, mask = Normalizer(kind).normalise(known, np.array([[5.0]]))
    assert (y[0, 0], mask[0, 0]) == (0.0, 1.0)
    y, _ = Normalizer(kind).normalise(known, np.array([[5.0 + 1e-9]]))
    assert abs(y[0, 0]) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_value_is_masked_and_teaches_nothing(kind: NormalizerKind) -> None:
    known = after(np.random.default_rng(5).normal(0, 1, 50), kind)
    y, mask = Normalizer(kind).normalise(known, np.array([[np.nan]]))
    assert (y[0, 0], mask[0, 0]) == (0.0, 0.0)
    same = Normalizer(kind).update(known, np.array([[np.nan]]))
    assert (same.low, same.high, same.count) == (known.low, known.high, known.count)


@settings(max_examples=40, deadline=None)
@given(series=arrays(np.float64, 30, elements=st.floats(-1e30, 1e30)), kind=st.sampled_from(KINDS))
def test_normalised_values_are_finite_whatever_comes(series: np.ndarray, kind: NormalizerKind) -> None:
    y, _ = Normalizer(kind).normalise_series(series.reshape(1, 30, 1))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_is_normalised_as_its_events_are_one_by_one(kind: NormalizerKind) -> None:
    series = np.random.default_rng(6).normal(3, 2, (2, 80, 3))
    series[0, 10, 1], series[1, 30, 2] = np.nan, 1e6
    normalizer, known = Normalizer(kind, memory=40), initial(2, 3)
    y_STD, mask_STD = normalizer.normalise_series(series)
    for t in range(80):
        y_SD, mask_SD = normalizer.normalise(known, series[:, t])
        np.testing.assert_array_equal(y_STD[:, t], y_SD)
        np.testing.assert_array_equal(mask_STD[:, t], mask_SD)
        known = normalizer.update(known, series[:, t])


def test_a_pace_of_nothing_teaches_nothing() -> None:
    known = after(np.random.default_rng(7).normal(0, 1, 50), NormalizerKind.STANDARD)
    before_BQ = np.repeat(np.concatenate(known, axis=1), 2, axis=0)
    after_BQ = before_BQ.copy()
    learn(after_BQ, At(0, 1, 2), Normalizer().code, 2000.0, np.array([[4.0], [4.0]]), np.array([0.0, 0.25]))
    assert np.array_equal(after_BQ[0], before_BQ[0])
    assert after_BQ[1, 2] == before_BQ[1, 2] + 1
    assert after_BQ[1, 0] > before_BQ[1, 0]


@pytest.mark.parametrize("kind", list(NormalizerKind))
@pytest.mark.parametrize("place", [0, 3, 7])
def test_an_absurd_value_among_the_first_is_forgotten_with_the_next(kind: NormalizerKind, place: int) -> None:
    values = np.random.default_rng(0).normal(20.0, 1.0, 100)
    values[place] = 9e29
    whole, rest = (
        Normalizer(kind).normalise_series(some[None, :, None])[0][0, -50:, 0] for some in (values, values[place + 1 :])
    )
    assert np.array_equal(whole, rest)
