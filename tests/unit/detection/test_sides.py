"""What a field does on the side that does not count hides nothing on the side that does."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.errors import UNCOUNTED, Sides, curb, curbed, expect_return, returned
from anomaly_daemon.detection.observation import Direction, Numeric, Schema, Transform
from anomaly_daemon.detection.rules import Evidence, Rules

USUAL = 300


def of(direction: Direction) -> Schema:
    return Schema((Numeric("amount", transform=Transform.LOG, direction=direction),))


def p_of_the_last(last: list[float], direction: Direction = Direction.ABOVE, prediction_weight: float = 1.0) -> float:
    """Return the p-value of the last of these amounts, which come after ordinary amounts of about 30."""
    amounts = [*np.exp(np.random.default_rng(0).normal(3.4, 0.6, USUAL)).tolist(), *last]
    rules = Rules(evidence=(Evidence.POINT,), prediction_weight=prediction_weight, window_events=1)
    made = detector(of(direction), rules, read_model("pretrained"))
    batch = observations(["card"] * len(amounts), list(range(len(amounts))), [[one] for one in amounts])
    return float(made.step(batch).scores.p_value_N[-1])


@pytest.mark.parametrize("before", [0.0, -30.0, -3000.0])
def test_a_large_payment_after_a_refund_is_as_odd_as_after_a_small_payment(before: float) -> None:
    after_a_small_one = p_of_the_last([9.0, 900.0])
    assert p_of_the_last([before, 900.0]) == pytest.approx(after_a_small_one, rel=0.5)
    assert after_a_small_one < 2e-3
    assert p_of_the_last([before, 900.0], Direction.BOTH) > 5 * after_a_small_one, "where both sides count it is not"


def test_a_small_payment_after_a_large_one_is_no_anomaly() -> None:
    assert p_of_the_last([30_000.0], prediction_weight=0.5) < 1e-3
    assert p_of_the_last([30_000.0, 5.0], prediction_weight=0.5) > 0.1
    assert p_of_the_last([30_000.0, 5.0], Direction.BOTH, prediction_weight=0.5) < 0.1, "where both sides count it is"


def test_what_lies_two_deviations_to_the_side_that_does_not_count_is_seen_as_no_further_off() -> None:
    counted = [Direction.ABOVE, Direction.BOTH, Direction.BELOW]
    y_BD = np.array([[-5.0, -5.0, -5.0], [1.0, 1.0, 1.0], [5.0, 5.0, 5.0]], np.float32)
    curb(Sides.of([Numeric(one, direction=one) for one in counted]), y_BD)
    least, most = np.float32(-UNCOUNTED), np.float32(UNCOUNTED)
    assert y_BD.tolist() == [[least, -5.0, -5.0], [1.0, 1.0, 1.0], [5.0, 5.0, most]]
    assert np.arcsinh(2.0) == pytest.approx(UNCOUNTED, abs=1e-4)


def test_after_a_cut_value_the_usual_level_is_expected_at_least() -> None:
    sides = Sides.of([Numeric(str(one), direction=one) for one in (Direction.ABOVE, Direction.BELOW, Direction.BOTH)])
    cut = np.float32(UNCOUNTED)
    window_BRD = np.full((4, 3, 3), 0.25, np.float32)
    window_BRD[1, 1] = [-cut, cut, -cut]  # an earlier value
    window_BRD[2, 0] = [-cut, cut, -cut]  # the newest
    window_BRD[3] = [[cut, -cut, cut]] * 3  # on the side that counts
    location_BD = np.tile(np.array([-0.5, 0.5, -0.5], np.float32), (4, 1))
    rebuilt_BRD = np.tile(location_BD[:, None], (1, 3, 1))
    expect_return(sides, window_BRD, location_BD, rebuilt_BRD)
    plain, lifted = [-0.5, 0.5, -0.5], [0.0, 0.0, -0.5]
    assert location_BD.tolist() == [plain, lifted, lifted, plain]
    assert rebuilt_BRD[[0, 1, 3]].tolist() == [[plain] * 3, [lifted] * 3, [plain] * 3]
    assert (rebuilt_BRD[2, :, :2] == window_BRD[2, :, :2]).all()
    assert rebuilt_BRD[2, :, 2].tolist() == [-0.5] * 3


@pytest.mark.parametrize(
    ("direction", "last", "expected", "told"),
    [
        (Direction.ABOVE, -2.0, -1.5, 0.0),
        (Direction.ABOVE, -2.0, 0.5, 0.5),
        (Direction.ABOVE, -1.9, -1.5, -1.5),
        (Direction.ABOVE, np.nan, -1.5, -1.5),
        (Direction.BELOW, 2.0, 1.5, 0.0),
        (Direction.BELOW, 2.0, -0.5, -0.5),
        (Direction.BELOW, 1.9, 1.5, 1.5),
        (Direction.BOTH, -2.0, -1.5, -1.5),
    ],
)
def test_autoregression_expects_the_usual_level_after_a_cut_value(
    direction: Direction, last: float, expected: float, told: float
) -> None:
    sides = Sides.of([Numeric("x", direction=direction)])
    assert returned(sides, 0, last, expected) == told
    cut = {Direction.ABOVE: (-2.0, 5.0), Direction.BELOW: (-5.0, 2.0), Direction.BOTH: (-5.0, 5.0)}[direction]
    assert (curbed(sides, 0, -5.0), curbed(sides, 0, 5.0)) == cut


def dips(side: float) -> tuple[list[float], list[int], list[int]]:
    """Return values about 20 that follow one another closely, the places at which they leave to one side and return,
    and the places of jumps to the other side."""
    rng, x, at = np.random.default_rng(5), 0.0, list(range(1200, 2400, 100))
    values = []
    for _ in range(2500):
        x = 0.97 * x + rng.normal(0.0, 0.24)
        values.append(20.0 - side * x)
    for place in at:
        values[place : place + 8] = [20.0 + side * 18.0 + float(rng.normal(0.0, 0.1)) for _ in range(8)]
    jumps = [place + 50 for place in at[-2:]]
    for place in jumps:
        values[place] = 20.0 - side * 12.0
    return values, [place + 8 for place in at], jumps


@pytest.mark.parametrize(("direction", "side"), [(Direction.ABOVE, -1.0), (Direction.BELOW, 1.0)])
def test_a_return_from_the_side_that_does_not_count_is_no_anomaly(direction: Direction, side: float) -> None:
    """The network and the stream's own last values expect that a value which has left stays away for a while."""
    values, returns, jumps = dips(side)
    made = detector(Schema((Numeric("latency", direction=direction),)), Rules(), read_model("pretrained"))
    batch = observations(["s"] * len(values), list(range(len(values))), [[one] for one in values])
    p_N = made.step(batch).scores.p_value_N
    assert np.median(p_N[returns]) > 0.1
    assert p_N[jumps[0]] < 1e-4, "neither returns nor the values before them make a jump ordinary"
