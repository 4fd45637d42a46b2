"""The expected value and interval that are reported are values that the field can take."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.expectation import Compared, one_sided
from anomaly_daemon.detection.observation import Numeric, Schema, Transform
from anomaly_daemon.detection.scores import Scores

LOG = Schema((Numeric("amount", Transform.LOG), Numeric("heat")))


def ended(value: float, expected: float, lower: float, upper: float, *, log: bool = True) -> tuple[float, float]:
    """Return the network's interval after `one_sided`. The interval of the leading evidence is given the same values
    and must stay equal to it."""
    compared = Compared(*(np.array([[number]]) for number in (expected, lower, upper, expected, lower, upper, 1.0)))
    one_sided(np.array([[value]]), np.array([log]), compared)
    assert (compared.reference_lower[0, 0], compared.reference_upper[0, 0]) == (
        compared.lower[0, 0],
        compared.upper[0, 0],
    )
    return float(compared.lower[0, 0]), float(compared.upper[0, 0])


@pytest.mark.parametrize(
    ("value", "expected", "lower", "upper", "told"),
    [
        (900.0, 2.0, -3.0, 40.0, (0.0, 40.0)),
        (0.0, 0.0, -3.0, 4.0, (0.0, 4.0)),
        (-90.0, -2.0, -40.0, 3.0, (-40.0, 0.0)),
        (-90.0, 2.0, -3.0, 40.0, (-3.0, 40.0)),
        (90.0, -2.0, -40.0, 3.0, (-40.0, 3.0)),
        (900.0, 20.0, 3.0, 40.0, (3.0, 40.0)),
        (np.nan, 2.0, -3.0, 40.0, (-3.0, 40.0)),
    ],
)
def test_an_interval_of_amounts_ends_at_0_unless_the_field_has_shown_another_sign(
    value: float, expected: float, lower: float, upper: float, told: tuple[float, float]
) -> None:
    assert ended(value, expected, lower, upper) == told
    assert ended(value, expected, lower, upper, log=False) == (lower, upper)


def scores(amounts: np.ndarray, of: Schema = LOG, made: Model | None = None) -> Scores:
    heat = np.random.default_rng(1).normal(size=len(amounts))
    values = np.column_stack([amounts, heat]).tolist()
    return detector(of, made=made).step(observations(["card"] * len(amounts), list(range(len(amounts))), values)).scores


def test_no_amount_is_expected_to_be_below_0_and_other_fields_may_be() -> None:
    amounts = np.random.default_rng(0).lognormal(1.0, 1.5, 300)
    found = scores(amounts)
    known = ~np.isnan(found.lower_NF[:, 0])
    assert known.sum() > 250
    assert (found.lower_NF[known, 0] == 0).any()
    assert not ((found.lower_NF[:, 0] < 0) & (found.expected_NF[:, 0] >= 0)).any()
    assert (found.lower_NF[known, 1] < 0).any()


def test_whether_an_event_lies_in_its_interval_stays_as_it_was() -> None:
    generator = np.random.default_rng(0)
    value, expected, below, above = generator.normal(0.0, 3.0, (4, 500, 1))
    before = expected - np.abs(below), expected + np.abs(above)
    compared = Compared(
        expected, before[0].copy(), before[1].copy(), expected, before[0].copy(), before[1].copy(), value
    )
    one_sided(value, np.array([True]), compared)
    assert (compared.lower != before[0]).any()
    assert (compared.upper != before[1]).any()
    for number in (value, expected):
        inside = (compared.lower <= number) & (number <= compared.upper)
        np.testing.assert_array_equal(inside, (before[0] <= number) & (number <= before[1]))


def test_a_field_of_both_signs_keeps_an_interval_of_both() -> None:
    found = scores(np.random.default_rng(0).normal(0.0, 3.0, 300))
    assert ((found.lower_NF[:, 0] < 0) & (found.upper_NF[:, 0] > 0)).any()


def test_of_noise_that_nothing_foretells_99_percent_lie_in_the_interval_and_it_is_as_wide_as_that_takes() -> None:
    """Errors are measured on a linear scale, and so is the interval. On the squashed scale it would be too wide: the
    hyperbolic sine of 2.6 is 6.5."""
    noise = np.random.default_rng(3).normal(5.0, 2.0, 1500)
    found = scores(noise, Schema((Numeric("x"), Numeric("heat"))), read_model("pretrained"))
    lower, upper = found.lower_NF[500:, 0], found.upper_NF[500:, 0]
    assert 0.975 < ((lower <= noise[500:]) & (noise[500:] <= upper)).mean() < 0.999
    assert np.median(upper - lower) == pytest.approx(2 * 2.5758 * 2.0, rel=0.1)
    np.testing.assert_allclose((upper + lower) / 2, found.expected_NF[500:, 0])


def test_an_absurd_value_leaves_the_interval_finite() -> None:
    found = scores(np.where(np.arange(300) == 200, 1e300, np.arange(300.0) % 7))
    known = ~np.isnan(found.expected_NF)
    assert np.isfinite(found.lower_NF[known]).all()
    assert np.isfinite(found.upper_NF[known]).all()
