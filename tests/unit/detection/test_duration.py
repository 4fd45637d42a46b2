from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.duration import KNOWN_AFTER, LEARN_ANOMALY, Durations


def known(durations: list[float]) -> Durations:
    state = Durations(np.zeros(1), np.zeros(1), np.zeros(1))
    for duration in durations:
        state = state.absorb(np.array([duration]), np.array([True]), np.array([np.inf]))
    return state


def limit(state: Durations, minimum: float = 1.0, ratio: float = 1.0, p: float = 0.999) -> float:
    return float(state.limit(minimum, ratio, p)[0])


def test_there_is_no_limit_until_enough_is_known() -> None:
    assert limit(known([10.0] * (KNOWN_AFTER - 1))) == np.inf
    assert limit(known([10.0] * KNOWN_AFTER)) < np.inf


def test_the_limit_is_the_largest_of_minimum_longest_and_quantile() -> None:
    state = known([10.0] * 30)
    assert limit(state, minimum=100.0) == 100.0
    assert limit(state, ratio=3.0) == pytest.approx(30.0, rel=0.02)
    assert limit(state, p=np.exp(-8)) == pytest.approx(80.0, rel=0.02)


def test_the_mean_forgets_and_an_unended_duration_teaches_nothing() -> None:
    state = known([10.0] * 50)
    same = state.absorb(np.array([99.0]), np.array([False]), np.array([np.inf]))
    assert (same.mean, same.longest, same.count) == (state.mean, state.longest, state.count)


def test_an_improbable_duration_does_not_license_the_next_one() -> None:
    state = known([10.0] * 50)
    after = state.absorb(np.array([1000.0]), np.array([True]), np.array([50.0]))
    assert after.longest[0] <= LEARN_ANOMALY * state.longest[0] * 1.001
    assert after.mean[0] < 11.0
