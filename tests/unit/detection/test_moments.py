from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import moments
from anomaly_daemon.detection.moments import KNOWN_AFTER, WINSOR, columns
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import StateLayout

LAYOUT = StateLayout([], columns("error", (2, 3)))
AT, PLACE = moments.at(LAYOUT, "error"), 4
NEVER = 1e-9


def met(row_Q: Float64, values: np.ndarray, floor: float = 0.0, slowest: float = NEVER) -> float:
    """Return how many standard deviations the last of these values is off."""
    for value in values:
        off = moments.meet(row_Q, AT, PLACE, float(value), moments.scale(row_Q, AT, PLACE, floor), slowest)
    return off


def after(values: np.ndarray, slowest: float = NEVER) -> Float64:
    row_Q = LAYOUT.blank(1).statistics_BQ[0]
    met(row_Q, values, slowest=slowest)
    return row_Q


def mean(row_Q: Float64) -> float:
    return float(row_Q[AT.mean + PLACE])


def test_the_mean_and_the_variance_are_those_of_the_values() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    row_Q = after(values)
    assert mean(row_Q) == pytest.approx(values.mean(), abs=0.05)
    assert moments.scale(row_Q, AT, PLACE, 0.0) == pytest.approx(values.std(), rel=0.05)
    assert row_Q.sum() == row_Q[[AT.mean + PLACE, AT.variance + PLACE, AT.count + PLACE]].sum()  # other places stay 0


def test_nothing_is_unusual_before_a_few_values_and_the_unknown_stays_unknown() -> None:
    early, known = after(np.arange(KNOWN_AFTER - 1.0)), after(np.arange(float(KNOWN_AFTER)))
    assert met(early, np.array([1e6])) == 0.0
    before = known.copy()
    assert np.isnan(met(known, np.array([np.nan])))
    assert np.array_equal(known, before)
    assert met(known, np.array([1e6])) > 1000


def test_an_outlier_teaches_as_if_it_were_a_few_deviations_off() -> None:
    far = after(np.random.default_rng(0).normal(0.0, 1.0, 400))
    near, edge = far.copy(), mean(far) + WINSOR * moments.scale(far, AT, PLACE, 0.0)
    met(far, np.array([1e6]))
    met(near, np.array([edge]))
    assert far == pytest.approx(near)


def test_the_floor_keeps_the_noise_of_a_constant_from_being_a_deviation() -> None:
    assert met(after(np.full(100, 7.0)), np.array([7.001]), floor=0.01) == pytest.approx(0.1)


def test_a_memory_forgets() -> None:
    noise = np.random.default_rng(0).normal(0.0, 1.0, 100)
    quick, slow = after(noise), after(noise)
    moved = np.tile(noise - noise.mean() + 1, 3)
    met(quick, moved, slowest=1.0 / 50)
    met(slow, moved)
    assert mean(quick) == pytest.approx(1.0, abs=0.15)
    assert mean(slow) == pytest.approx(0.75, abs=0.05)
