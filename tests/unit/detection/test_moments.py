from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.moments import KNOWN_AFTER, WINSOR, Moments, columns
from anomaly_daemon.detection.state import StateLayout

NAN = np.nan
ONE = np.ones((1, 1))


def blank() -> Moments:
    return Moments(0 * ONE, 0 * ONE, 0 * ONE)


def after(known: Moments, values: np.ndarray, memory: float = 1e9) -> Moments:
    for value in values:
        known = known.after(value * ONE, 0.0, memory)
    return known


def test_the_mean_and_the_variance_are_those_of_the_values() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    known = after(blank(), values)
    assert known.mean[0, 0] == pytest.approx(values.mean(), abs=0.05)
    assert known.scale(0.0)[0, 0] == pytest.approx(values.std(), rel=0.05)


def test_nothing_is_unusual_before_a_few_values_and_the_unknown_stays_unknown() -> None:
    known = after(blank(), np.arange(KNOWN_AFTER - 1.0))
    assert known.standardised(1e6 * ONE, 0.0)[0, 0] == 0.0
    known = after(known, np.array([3.0]))
    assert known.standardised(1e6 * ONE, 0.0)[0, 0] > 1000
    assert np.isnan(known.standardised(NAN * ONE, 0.0)[0, 0])
    unmoved = known.after(NAN * ONE, 0.0, 1e9)
    assert (unmoved.mean, unmoved.variance, unmoved.count) == (known.mean, known.variance, known.count)


def test_an_outlier_teaches_as_if_it_were_a_few_deviations_off() -> None:
    known = after(blank(), np.random.default_rng(0).normal(0.0, 1.0, 400))
    far, near = (known.after(x * ONE, 0.0, 1e9) for x in (1e6, known.mean + WINSOR * known.scale(0.0)))
    assert far.mean == pytest.approx(near.mean)
    assert far.variance == pytest.approx(near.variance)


def test_the_floor_keeps_the_noise_of_a_constant_from_being_a_deviation() -> None:
    known = after(blank(), np.full(100, 7.0))
    assert known.standardised(7.001 * ONE, 0.01)[0, 0] == pytest.approx(0.1)


def test_a_memory_forgets() -> None:
    noise = np.random.default_rng(0).normal(0.0, 1.0, 100)
    known = after(blank(), noise)
    moved = np.tile(noise - noise.mean() + 1, 3)
    assert after(known, moved, memory=50.0).mean[0, 0] == pytest.approx(1.0, abs=0.15)
    assert after(known, moved).mean[0, 0] == pytest.approx(0.75, abs=0.05)


def test_the_rows_hold_it() -> None:
    rows = StateLayout([], columns("error", (2, 3))).blank(4)
    known = Moments.of(rows, "error")
    assert known.variance.shape == (4, 2, 3)
    known.after(np.full((4, 2, 3), 3.0), 0.0, 1e9).keep(rows, "error")
    assert (rows["error_mean"] == 3.0).all()
    assert (rows["error_count"] == 1.0).all()
