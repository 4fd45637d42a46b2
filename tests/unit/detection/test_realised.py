from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import realised
from anomaly_daemon.detection.realised import DAY, MONTH, spent
from anomaly_daemon.detection.state import Column, Rows, StateLayout

LAYOUT = StateLayout([], [Column("first_time"), Column("last_time"), *realised.COLUMNS])
START = 1.7e15


def lived(days: float, opened: list[float]) -> Rows:
    """Return the row of a stream that has lived for `days` and opened episodes on the days `opened`."""
    rows = LAYOUT.blank(1)
    rows["first_time"], rows["last_time"] = START, START + days * DAY
    for day in opened:
        realised.count(rows, 0, START + day * DAY)
    return rows


def rate(*rows: Rows) -> float | None:
    named = ("opens", "opens_at", "first_time", "last_time")
    return spent(*(np.concatenate([one[name] for one in rows]) for name in named)).rate


def test_a_steady_rate_is_told_as_it_is_at_any_age() -> None:
    for days in (1.0, 5.0, 40.0, 400.0):
        assert rate(lived(days, np.arange(0.05, days, 0.1).tolist())) == pytest.approx(10.0, rel=0.02)


def test_it_is_not_known_before_a_day() -> None:
    assert rate(lived(0.99, [0.5])) is None
    assert rate(lived(1.0, [])) == 0.0


def test_a_storm_shows_in_a_stream_that_was_quiet_for_a_year() -> None:
    storm = np.linspace(365.0, 366.0, 100).tolist()
    assert rate(lived(366.0, storm)) == pytest.approx(100.0 / 30.0, rel=0.05)
    assert rate(lived(366.0 + 90.0, storm)) == pytest.approx(100.0 / 30.0 * np.exp(-3.0), rel=0.05)


def test_streams_count_by_their_days() -> None:
    young, old = lived(0.5, [0.2]), lived(3000.0, np.arange(0.0, 3000.0, 100.0).tolist())
    assert rate(young, old) == pytest.approx((1.0 + 1.0 / 100.0 * 30.0) / 30.5, rel=0.25)


def test_of_a_release_that_counted_all_openings_the_rate_goes_on() -> None:
    rows = lived(300.0, [])
    rows["opens"] = 600.0
    realised.complete(rows)
    assert rate(rows) == pytest.approx(2.0)
    rows["last_time"] += MONTH
    assert rate(rows) == pytest.approx(2.0 / np.e, rel=0.01)
    known = lived(300.0, [299.0])
    before = known["opens"].copy()
    realised.complete(known)
    assert np.array_equal(known["opens"], before)
