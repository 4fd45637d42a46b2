"""The regression of a stream's next value on its own last values has the weights of Yule and Walker, and values that
break it are found."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations, schema

from anomaly_daemon.detection.autoregression import EVENTS, EVERY, ORDER, RIDGE, TRUSTED_AFTER
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.explain import SIGNAL_TEXTS
from anomaly_daemon.detection.moments import WINSOR_AFTER
from anomaly_daemon.detection.observation import Direction, Float64, Numeric, Schema
from anomaly_daemon.detection.rules import EpisodeRule, Evidence, Rules
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.detection.signals import Signal
from anomaly_daemon.detection.state import Rows

ONLY = Rules(evidence=(Evidence.AUTOREGRESSION,), alarms_per_day=5.0, episode=EpisodeRule(magnitude_floor=0.0))


def stepped(x_N: Float64, of: Schema | None = None) -> tuple[Detector, Step]:
    made = detector(of or schema(["x"]), ONLY)
    return made, made.step(observations(["s"] * len(x_N), list(range(len(x_N))), x_N[:, None].tolist()))


def evidence_of(x_N: Float64, of: Schema | None = None) -> Float64:
    return stepped(x_N, of)[1].scores.evidence_NJ[:, Signal.AUTOREGRESSION]


def row_of(made: Detector) -> Rows:
    return made.slab.gather(made.slab.rows(["s"]))


def hum(events: int = 2000, seed: int = 0) -> Float64:
    """Return a sine wave with a pitch of its own and a little noise: each value is ordinary in itself."""
    return 50.0 + np.sin(np.arange(events) / 1.7) + 0.1 * np.random.default_rng(seed).normal(size=events)


def other_pitch(first: int = 1500, last: int = 1540) -> Float64:
    x_N = hum()
    x_N[first:last] = 50.0 + np.sin(np.arange(last - first) / 3.1)
    return x_N


def test_the_weights_solve_the_equations_of_yule_and_walker() -> None:
    x_N = hum(WINSOR_AFTER + EVERY * 30 + 1)  # solved again at the last value, from what was known before it
    row = row_of(stepped(x_N)[0])
    products = row_of(stepped(x_N[:-1])[0]).carried("autoregression_products")[0, 0].astype(np.float64)
    weights = row.carried("autoregression_weights")[0, 0]
    places = np.abs(np.subtract.outer(np.arange(ORDER), np.arange(ORDER)))
    matrix = products[places] + RIDGE * np.eye(ORDER)
    np.testing.assert_allclose(weights, np.linalg.solve(matrix, products[1:]), atol=1e-3)
    error = products[0] + RIDGE - weights @ products[1:]
    assert row["autoregression_error"][0, 0] == pytest.approx(error, rel=1e-3)


def test_of_an_autoregression_it_finds_the_weights_and_leaves_the_noise() -> None:
    random, x_N = np.random.default_rng(4), np.zeros(6000)
    for t in range(2, 6000):
        x_N[t] = 0.6 * x_N[t - 1] - 0.3 * x_N[t - 2] + random.normal()
    made = stepped(x_N)[0]
    row = row_of(made)
    np.testing.assert_allclose(row.carried("autoregression_weights")[0, 0, :2], [0.6, -0.3], atol=0.05)
    variance = row["level_variance"][0, 0]
    assert row["autoregression_error"][0, 0] * variance == pytest.approx(1.0, rel=0.05)


def test_another_pitch_of_the_same_size_is_found_and_told_of() -> None:
    x_N = other_pitch()
    step = stepped(x_N)[1]
    (opened, *_) = [one for one in step.alerts if one.event == "open"]
    assert 1500 <= opened.provenance.first_offset < 1515
    assert SIGNAL_TEXTS[Signal.AUTOREGRESSION] in opened.reason
    assert "expected from its last values" in opened.reason
    assert opened.features[0].lower < opened.features[0].expected < opened.features[0].upper
    u_N = step.scores.evidence_NJ[:, Signal.AUTOREGRESSION]
    assert u_N[1500:1540].max() > 2 * np.nanmax(np.delete(u_N, np.s_[1490:1600]))


def test_it_is_a_moving_average_of_squared_errors() -> None:
    x_N = hum(1000)
    former, now = row_of(stepped(x_N[:-1])[0]), row_of(stepped(x_N)[0])
    z = (x_N[-1] - former["level_mean"][0, 0]) / np.sqrt(former["level_variance"][0, 0])
    expected = former.carried("autoregression_weights")[0, 0] @ former.carried("autoregression_recent")[0, 0]
    square = (z - expected) ** 2 / former["autoregression_error"][0, 0]
    before, rate = former["autoregression_slow"][0, 0], 2.0 / (EVENTS + 1.0)
    assert now["autoregression_slow"][0, 0] == pytest.approx(before + rate * (square - before), rel=1e-4)


def test_it_is_silent_until_its_errors_are_known() -> None:
    u_N, first = evidence_of(hum(400)), WINSOR_AFTER + TRUSTED_AFTER
    assert np.isnan(u_N[:first]).all()
    assert np.isfinite(u_N[first:]).all()


def test_missing_values_leave_no_gap() -> None:
    x_N = hum(600)
    holed_N = np.insert(x_N, 300, [np.nan] * 7)
    row, holed = row_of(stepped(x_N)[0]), row_of(stepped(holed_N)[0])
    np.testing.assert_array_equal(row.carried("autoregression_weights"), holed.carried("autoregression_weights"))


@pytest.mark.parametrize(("direction", "found"), [(Direction.ABOVE, False), (Direction.BELOW, True)])
def test_a_field_that_counts_on_one_side_does_so_here(direction: Direction, found: bool) -> None:
    x_N = hum()
    x_N[1500] -= 3.0
    u_N = evidence_of(x_N, Schema((Numeric("x", direction=direction),)))
    assert (u_N[1500] > 2 * np.nanmax(u_N[1000:1500])) == found


def test_a_constant_is_no_news() -> None:
    u_N = evidence_of(np.full(800, 7.0))
    assert not (u_N[200:] > 0.01).any()


def test_one_absurd_value_does_not_unmake_it() -> None:
    x_N = hum()
    x_N[1000] = 1e9
    row, plain = row_of(stepped(x_N)[0]), row_of(stepped(hum())[0])
    np.testing.assert_allclose(row.carried("autoregression_weights"), plain.carried("autoregression_weights"), atol=0.1)


def test_a_switch_is_not_held_against_its_last_values() -> None:
    x_N = (np.arange(2000) // 300 % 2).astype(float)
    assert np.isnan(evidence_of(x_N)[400:]).all()
