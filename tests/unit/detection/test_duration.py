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
    """Return the row of a clock that has seen these durations."""
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


def test_where_one_was_far_longer_than_usual_a_rarer_one_is_expected_to_be_longer_still() -> None:
    """The longest of a hundred durations is the quantile of a hundredth. The quantile of a ten-thousandth lies beyond
    the longest by the same factor as the longest lies beyond the mean."""
    row_Q = known([9.0] * 99 + [109.0])
    assert row_Q[AT.mean + PLACE] == pytest.approx(10.0)
    assert limit(row_Q, rarity=2 * np.log(100)) == pytest.approx(10.0 * 10.9**2, rel=0.01)
    assert limit(row_Q, rarity=np.log(100)) == pytest.approx(109.0, rel=0.01)


def test_the_longest_stands_for_no_more_durations_than_it_remembers() -> None:
    row_Q = known([9.0] * 99 + [109.0])
    row_Q[AT.count + PLACE] = duration.LONGEST_OF
    most = limit(row_Q, rarity=20.0)
    row_Q[AT.count + PLACE] = 100 * duration.LONGEST_OF
    assert limit(row_Q, rarity=20.0) == most > 109.0


def test_what_happens_every_twentieth_time_is_never_an_anomaly() -> None:
    assert duration.rarity_of(0.5) == duration.rarity_of(duration.COMMONEST) == pytest.approx(-np.log(0.05))
    assert duration.rarity_of(1e-4) == pytest.approx(-np.log(1e-4))


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
