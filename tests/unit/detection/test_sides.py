"""What a field does on the side that does not count hides nothing on the side that does."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.errors import UNCOUNTED, Sides, curb
from anomaly_daemon.detection.observation import Direction, Numeric, Schema, Transform
from anomaly_daemon.detection.rules import Evidence, Rules

USUAL = 300


def of(direction: Direction) -> Schema:
    return Schema((Numeric("amount", transform=Transform.LOG, direction=direction),))


def p_of_the_last(last: list[float], direction: Direction = Direction.ABOVE) -> float:
    """Return the p-value of the last of these amounts, which come after ordinary amounts of about 30."""
    amounts = [*np.exp(np.random.default_rng(0).normal(3.4, 0.6, USUAL)).tolist(), *last]
    rules = Rules(evidence=(Evidence.POINT,), prediction_weight=1.0, window_events=1)
    made = detector(of(direction), rules, read_model("pretrained"))
    batch = observations(["card"] * len(amounts), list(range(len(amounts))), [[one] for one in amounts])
    return float(made.step(batch).scores.p_value_N[-1])


@pytest.mark.parametrize("before", [0.0, -30.0, -3000.0])
def test_a_large_payment_after_a_refund_is_as_odd_as_after_a_small_payment(before: float) -> None:
    after_a_small_one = p_of_the_last([9.0, 900.0])
    assert p_of_the_last([before, 900.0]) == pytest.approx(after_a_small_one, rel=0.5)
    assert after_a_small_one < 2e-3
    assert p_of_the_last([before, 900.0], Direction.BOTH) > 5 * after_a_small_one, "where both sides count it is not"


def test_what_lies_two_deviations_to_the_side_that_does_not_count_is_seen_as_no_further_off() -> None:
    counted = [Direction.ABOVE, Direction.BOTH, Direction.BELOW]
    y_BD = np.array([[-5.0, -5.0, -5.0], [1.0, 1.0, 1.0], [5.0, 5.0, 5.0]], np.float32)
    curb(Sides.of([Numeric(one, direction=one) for one in counted]), y_BD)
    least, most = np.float32(-UNCOUNTED), np.float32(UNCOUNTED)
    assert y_BD.tolist() == [[least, -5.0, -5.0], [1.0, 1.0, 1.0], [5.0, 5.0, most]]
    assert np.arcsinh(2.0) == pytest.approx(UNCOUNTED, abs=1e-4)
