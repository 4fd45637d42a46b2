from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import duration
from anomaly_daemon.detection.duration import KNOWN_AFTER, LEARN_ANOMALY, columns
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import StateLayout

LAYOUT = StateLayout([], columns("gap", (3,)))
AT, PLACE = duration.at(LAYOUT, "gap"), 1


def known(durations: list[float]) -> Float64:
    """The row of a clock that has shown these."""
    row_Q = LAYOUT.blank(1).statistics_BQ[0]
    for each in durations:
        duration.absorb(row_Q, AT, PLACE, each, np.inf)
    return row_Q


def limit(row_Q: Float64, minimum: float = 1.0, ratio: float = 1.0, rarity: float = 0.001) -> float:
    return duration.limit(row_Q, AT, PLACE, minimum, ratio, rarity)


def test_there_is_no_limit_until_enough_is_known() -> None:
    assert limit(known([10.0] * (KNOWN_AFTER - 1))) == np.inf
    assert limit(known([10.0] * KNOWN_AFTER)) < np.inf


def test_the_limit_is_the_largest_of_minimum_longest_and_quantile() -> None:
    row_Q = known([10.0] * 30)
    assert limit(row_Q, minimum=100.0) == 100.0
    assert limit(row_Q, ratio=3.0) == pytest.approx(30.0, rel=0.02)
    assert limit(row_Q, rarity=8.0) == pytest.approx(80.0, rel=0.02)


def test_the_mean_forgets() -> None:
    assert known([10.0] * 1000 + [20.0] * 500)[AT.mean + PLACE] == pytest.approx(20.0 - 10.0 / np.e, rel=0.02)


def test_another_clock_of_the_row_stays_as_it_is() -> None:
    row_Q = known([10.0] * 50)
    assert np.count_nonzero(row_Q) == 3


def test_an_improbable_duration_does_not_license_the_next_one() -> None:
    row_Q = known([10.0] * 50)
    longest = row_Q[AT.longest + PLACE]
    duration.absorb(row_Q, AT, PLACE, 1000.0, 50.0)
    assert row_Q[AT.longest + PLACE] <= LEARN_ANOMALY * longest * 1.001
    assert row_Q[AT.mean + PLACE] < 11.0
