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
    """How far off the last of them was."""
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
    assert row_Q.sum() == row_Q[[AT.mean + PLACE, AT.variance + PLACE, AT.count + PLACE]].sum()  # and of no other place


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


@pytest.mark.parametrize("absurd", [9e29, -9e29, 1e300])
@pytest.mark.parametrize("place", [0, 1, 7, 29])
def test_a_value_that_cannot_be_of_the_same_kind_is_forgotten_with_the_next(absurd: float, place: int) -> None:
    values = np.random.default_rng(0).normal(20.0, 1.0, 400)
    values[place] = absurd
    row_Q = after(values)
    assert np.array_equal(row_Q, after(values[place + 1 :]))
    assert met(row_Q, np.array([40.0])) == pytest.approx(20.0, abs=2.0)


@pytest.mark.parametrize(
    "steps",
    [
        [0.0, 0.0, 5e9, 0.0],
        [1.7e9, 0.0, 1.7e9],
        [1e-13, 5.0, 1e-13],
        [0.0, 2e12, 0.0, 2e12],
        [1.7e18, 0.0, 1.7e18],
        [0.0, 2.0**64, 0.0],
    ],
)
def test_readings_however_unlike_are_of_one_kind(steps: list[float]) -> None:
    """From nothing to a counter of bytes, a time, the largest counter, a residue of rounding: their mean is that of all."""
    assert mean(after(np.array(steps))) == pytest.approx(np.mean(steps))


def test_an_error_has_no_unit_and_is_of_one_kind_whatever_its_size() -> None:
    row_Q = LAYOUT.blank(1).statistics_BQ[0]
    for error in (0.0, 5e18, 0.0):
        moments.meet(row_Q, AT, PLACE, error, 1.0, NEVER, WINSOR, False)
    assert mean(row_Q) == pytest.approx(5e18 / 3)
