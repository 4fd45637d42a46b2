from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from anomaly_daemon.detection.context import context, offsets


def micro(*when: int) -> np.ndarray:
    return np.array([int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000])  # type: ignore[arg-type,misc]


NO_GAP = np.array([np.nan])


def test_midnight_and_noon_are_opposite_times_of_day() -> None:
    midnight = context(micro(2024, 3, 4), NO_GAP, NO_GAP, "UTC")[0]
    noon = context(micro(2024, 3, 4, 12), NO_GAP, NO_GAP, "UTC")[0]
    np.testing.assert_allclose(midnight[1:3], [0, 1], atol=1e-6)
    np.testing.assert_allclose(noon[1:3], [0, -1], atol=1e-6)


def test_the_week_starts_on_monday() -> None:
    monday = context(micro(2024, 3, 4), NO_GAP, NO_GAP, "UTC")[0]
    np.testing.assert_allclose(monday[3:5], [0, 1], atol=1e-6)


def test_the_calendar_follows_the_streams_zone_through_the_change_of_clocks() -> None:
    hours = [offsets(micro(2024, month, 1), "Europe/Berlin")[0] / 3600 for month in (1, 7)]
    assert hours == [1.0, 2.0]
    before, after = offsets(np.concatenate([micro(2024, 3, 31, 0, 59), micro(2024, 3, 31, 1, 0)]), "Europe/Berlin")
    assert (before, after) == (3600.0, 7200.0)


def test_the_gap_is_told_relative_to_the_usual_one() -> None:
    gaps, usual = np.array([60.0, 120.0, 30.0, np.nan, 0.0, 1e12]), np.full(6, 60.0)
    told = context(np.zeros(6, np.int64), gaps, usual, "UTC")[:, 0]
    np.testing.assert_allclose(told, [0, np.log(2), -np.log(2), 0, 0, 5.0], atol=1e-6)


def test_a_year_out_of_range_has_no_calendar_and_no_error() -> None:
    assert offsets(np.array([9_000_000_000_000_000_000]), "Europe/Berlin").tolist() == [0.0]
