from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.combination import At, joined, sustain


def test_the_harmonic_mean_is_led_by_the_least_and_leaves_out_the_unknown() -> None:
    odds, begin = np.array([1.0, 1.0, 0.5]), np.ones((4, 3))
    p = np.array([[0.5, 1e-6, 0.5], [0.2, 0.2, 0.2], [0.01, np.nan, np.nan], [np.nan] * 3])
    found = joined(p, odds, begin).p
    assert found[0] == pytest.approx(2.5e-6, rel=0.01)
    assert found[1:3] == pytest.approx([0.2, 0.01])
    assert np.isnan(found[3])
    assert joined(np.array([[0.5, 0.5, 1e-6]]), odds, begin[:1]).p[0] == pytest.approx(5e-6, rel=0.01)


def test_the_kind_that_leads_has_the_least_p_value_for_its_odds() -> None:
    odds, begin, nan = np.array([1.0, 1.0, 0.5]), np.ones((4, 3)), np.nan
    p = np.array([[0.5, 1e-6, 0.5], [0.3, 0.2, 0.08], [nan, nan, 0.9], [nan] * 3])
    assert joined(p, odds, begin).leading.tolist() == [1, 2, 2, 0]
    assert joined(p, np.array([1.0, 1.0, 0.1]), begin).leading.tolist() == [1, 1, 2, 0]


def test_a_kind_whose_excesses_last_in_a_stream_weighs_less_there() -> None:
    p, begin = np.array([[1e-3, 1e-6]] * 2), np.array([[1.0, 1.0], [1.0, 0.01]])
    even, doubted = joined(p, np.ones(2), begin).p
    assert even == pytest.approx(2e-6, rel=0.01)
    assert doubted == pytest.approx(1.01 / (1e3 + 1e4), rel=0.01)


def sustained(p: list[float], rate: float = 0.05) -> list[float]:
    """Return what `sustain` makes of one row's successive p-values."""
    row, told = np.zeros((1, 1)), []
    for one in p:
        sustained_B = np.empty(1)
        sustain(row, At(0), rate, np.array([one]), sustained_B)
        told.append(float(sustained_B[0]))
    return told


def test_a_calm_event_amid_surprising_ones_is_no_less_surprising_than_they_are_on_average() -> None:
    calm = sustained([0.05] * 400 + [1.0])[-1]
    assert calm == pytest.approx(0.05**0.95, rel=0.01)  # the average includes the calm event


def test_what_is_calm_for_long_is_calm_again_and_no_run_lowers_a_smaller_p_value() -> None:
    told = sustained([1e-9] * 400 + [1.0] * 400)
    assert told[:400] == [1e-9] * 400
    assert told[400] == pytest.approx(0.01**0.95, rel=0.01)
    assert told[-1] == 1.0


def test_chance_is_no_run() -> None:
    p = np.random.default_rng(0).uniform(size=5000).tolist()
    assert sustained(p, 0.02) == p


def test_one_event_is_no_run_and_none_goes_beyond_one_in_a_hundred() -> None:
    assert sustained([1e-300, 1.0])[1] == 1.0
    assert min(sustained([1e-300] * 1000 + [1.0])[1000:]) >= 0.01
    assert np.isnan(sustained([np.nan])[0])
    assert sustained([0.05] * 400 + [np.nan, 1.0])[-1] == sustained([0.05] * 400 + [1.0])[-1]
