from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from anomaly_daemon.detection import season
from tests.unit.detection.visits import DAY, HALF_HOUR, LAYOUT, MIDNIGHT, days, fed


def test_there_is_nothing_to_hold_the_first_day_against() -> None:
    assert all(np.isnan(one.standard) for one in days(LAYOUT.blank(1), 1, lambda _day, place: place))


def test_a_value_is_held_against_the_same_time_of_earlier_days_and_not_against_its_own() -> None:
    rows, chance = LAYOUT.blank(1), np.random.default_rng(0)
    days(rows, 6, lambda _day, place: 10.0 * place + chance.normal())
    for step in range(3):
        found = fed(rows, MIDNIGHT + 6 * DAY + 20 * HALF_HOUR + 60 * step, 260.0)
        assert found.usual == pytest.approx(200.0, abs=2.0)
        assert found.standard == season.WINSOR


def test_a_level_that_moves_is_followed_in_days() -> None:
    rows = LAYOUT.blank(1)
    days(rows, 3, lambda _day, place: place)
    later = days(rows, 8, lambda _day, place: place + 100.0, first=3)
    assert later[0].usual == pytest.approx(0.0)
    assert later[-1].usual == pytest.approx(147.0, abs=100 * 0.7**6)


def test_the_clock_is_the_streams_own_and_summer_time_moves_nothing() -> None:
    rows, berlin = LAYOUT.blank(1), ZoneInfo("Europe/Berlin")
    for day in (29, 30, 31):  # summer time began on 31 March 2024
        for hour in (8, 9):
            moment = datetime(2024, 3, day, hour, 10, tzinfo=berlin).timestamp()
            found = fed(rows, moment, float(hour), "Europe/Berlin")
    assert found.usual == 9.0


def test_what_a_row_saw_while_it_was_slowed_down_moves_its_profile_less() -> None:
    quick, slow = LAYOUT.blank(1), LAYOUT.blank(1)
    for rows, pace in ((quick, 1.0), (slow, 0.1)):
        fed(rows, MIDNIGHT, 0.0)
        fed(rows, MIDNIGHT + DAY, 10.0, pace=pace)
        fed(rows, MIDNIGHT + DAY + HALF_HOUR, 10.0)
    assert quick.carried("season")[0, 0, 0] == pytest.approx(10 * season.RATE)
    assert slow.carried("season")[0, 0, 0] == pytest.approx(season.RATE)


def test_a_missing_value_leaves_the_profile_as_it_is() -> None:
    rows = LAYOUT.blank(1)
    days(rows, 2, lambda _day, place: place)
    before = rows.carried("season").copy()
    found = days(rows, 2, lambda _day, _place: np.nan, first=2)
    assert np.isnan(found[-1].standard)
    assert np.array_equal(rows.carried("season")[:, :-1], before[:, :-1])
