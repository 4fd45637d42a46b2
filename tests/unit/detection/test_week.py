from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations, schema

from anomaly_daemon.detection import season, week
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.season import Residual
from tests.unit.detection.visits import DAY, HALF_HOUR, LAYOUT, MIDNIGHT, days, fed

SATURDAY = 5
"""The number of the first Saturday; the first day is a Monday."""


def load(day: int, place: float) -> float:
    """Return the load of a service: a bump by day, a third of it on Saturdays and Sundays."""
    return (0.3 if day % 7 >= SATURDAY else 1.0) * 100.0 * np.sin(np.pi * place / 48) ** 2


def noisy(day: int, place: int) -> float:
    return load(day, place) + 3.0 * np.random.default_rng([day, place]).normal()


def off(found: list[Residual], values: list[float]) -> float:
    """Return the mean distance from what was usual."""
    return float(np.mean([abs(value - one.usual) for one, value in zip(found, values, strict=True)]))


def test_a_weekend_is_expected_once_two_were_seen() -> None:
    rows = LAYOUT.blank(1)
    days(rows, 7 * 4, noisy)
    found = days(rows, 7, noisy, first=28)
    expected = [load(day, place) for day in range(28, 35) for place in range(48)]
    assert off(found, expected) < 6.0
    assert np.mean([abs(one.standard) for one in found]) < 1.5
    saturday_noon = found[SATURDAY * 48 + 24]
    assert saturday_noon.usual == pytest.approx(30.0, abs=12.0)
    assert saturday_noon.scale < 15.0  # without the week it was 22


def test_a_monday_that_is_like_a_sunday_is_unusual() -> None:
    rows = LAYOUT.blank(1)
    days(rows, 7 * 5, noisy)
    (*_, at_noon) = days(rows, 1, lambda _day, place: noisy(34, place), first=35)[:25]
    assert at_noon.usual > 80.0
    assert at_noon.standard < -4.0


def test_where_days_are_alike_the_profile_stays_as_it_is() -> None:
    rows, alike = LAYOUT.blank(1), lambda day, place: noisy(7 * day, place)
    days(rows, 7 * 4, alike)
    found = days(rows, 7, alike, first=28)
    assert off(found, [load(0, place) for place in range(48)] * 7) < 2.5


def test_what_was_odd_last_week_is_not_expected_again() -> None:
    rows = LAYOUT.blank(1)
    days(rows, 7 * 5, noisy)
    days(rows, 1, lambda day, place: noisy(day, place) + (500.0 if 20 <= place < 24 else 0.0), first=35)
    days(rows, 6, noisy, first=36)
    at_ten = days(rows, 1, noisy, first=42)[20]
    by_the_days = 500.0 * season.RATE * (1.0 - season.RATE) ** 6
    assert at_ten.usual == pytest.approx(load(42, 20) + by_the_days, abs=20.0)


def test_a_week_that_ended_differently_is_forgotten() -> None:
    rows = LAYOUT.blank(1)
    days(rows, 7 * 5, noisy)
    days(rows, 7 * 10, lambda day, place: noisy(7 * day, place), first=35)
    found = days(rows, 7, lambda day, place: noisy(7 * day, place), first=105)
    assert off(found, [load(0, place) for place in range(48)] * 7) < 5.0


def test_a_stream_that_learns_slowly_moves_its_week_less() -> None:
    moved = {}
    for pace in (1.0, 0.1):
        rows = LAYOUT.blank(1)
        days(rows, 14, load)
        before = rows.carried("week").copy()
        days(rows, 1, lambda _day, _place: 200.0, first=14, pace=pace)
        moved[pace] = float(np.abs(rows.carried("week") - before)[0].max())
    assert moved[1.0] > 10.0
    assert moved[0.1] < 0.1 * moved[1.0]


def test_a_reset_forgets_the_week() -> None:
    rows = LAYOUT.blank(1)
    days(rows, 21, load)
    season.begin(rows.carried_BP[0], rows.statistics_BQ[0], season.at(LAYOUT), 1, 0)
    assert np.isnan(rows.carried("week")).all()
    names = [f"week_{name}" for name in week.At._fields[1:]]
    assert all(not rows[name].any() for name in names)


def test_an_event_a_day_has_a_day_of_the_week() -> None:
    rows, sold = LAYOUT.blank(1), (50.0, 60.0, 60.0, 70.0, 90.0, 140.0, 20.0)
    chance = np.random.default_rng(3)
    found = [fed(rows, MIDNIGHT + day * DAY, sold[day % 7] + chance.normal()) for day in range(7 * 12)]
    assert off(found[-14:], list(sold) * 2) < 8.0  # 40 without the week


@pytest.mark.parametrize("every", [120, 1800])
def test_residuals_are_measured_by_what_the_week_leaves_on_each_day(every: int) -> None:
    rows, chance = LAYOUT.blank(1), np.random.default_rng(5)
    squares = np.zeros(7)
    for second in range(0, 7 * 6 * DAY, every):
        day, place = second // DAY, second % DAY / HALF_HOUR
        found = fed(rows, MIDNIGHT + second, load(day, place) + 3.0 * chance.normal())
        if day >= 35:
            squares[day % 7] += found.standard**2 / (DAY / every)
    assert (squares > 0.3).all(), squares
    assert (squares < 2.0).all(), squares


def test_busy_hours_that_are_alike_are_not_measured_by_the_others() -> None:
    rows, chance, busy = LAYOUT.blank(1), np.random.default_rng(6), []
    for day in range(7 * 8):
        morning = [8.0 + one / 100 for one in range(200)]
        for hour in sorted([*range(24), *morning]):
            weekend = 10.0 * (day % 7 >= SATURDAY) * (hour not in morning)
            found = fed(rows, MIDNIGHT + day * DAY + 3600 * hour, weekend + chance.normal())
            if day >= 49 and hour in morning:
                busy.append(found.standard)
    assert np.sqrt(np.mean(np.square(busy))) < 1.5


def weekly(key: str, hours: int, seed: int) -> Observations:
    noise = np.random.default_rng(seed).normal(0, 3.0, hours)
    values = [[load((hour + 46) // 24, (hour + 46) % 24 * 2) + noise[hour]] for hour in range(hours)]
    return observations([key] * hours, [60 * hour for hour in range(hours)], values)


def test_weeks_depend_on_the_streams_own_past_alone() -> None:
    """Not on how records are cut, nor on another stream, nor on whether the state was stored between them."""
    hours, own = 24 * 7 * 4, weekly("a", 24 * 7 * 4, 0)
    whole = detector(schema(["x"]))
    expected = whole.step(own).scores.p_value_N
    assert whole.slab.gather(whole.slab.rows(["a"]))["week_count"][0, 0] > 200

    beside = weekly("b", hours, 1)
    both = observations(
        ["a", "b"] * hours,
        np.repeat(60 * np.arange(hours), 2).tolist(),
        np.stack([own.values_ND, beside.values_ND], axis=1).reshape(-1, 1).tolist(),
    )
    made, found = detector(schema(["x"])), []
    for start, stop in ((0, 333), (333, 900), (900, 2 * hours)):
        found.append(made.step(both.take(slice(start, stop))).scores.p_value_N)
        stored, made = made.export(0, 1), detector(schema(["x"]))
        made.restore(stored)
    assert np.array_equal(np.concatenate(found)[::2], expected, equal_nan=True)


@pytest.mark.parametrize(
    ("product", "square", "count", "slope"),
    [
        (4.0, 4.0, 1e9, 1.0),
        (2.0, 4.0, 1e9, 0.5),
        (4.0, 8.0, 1e9, 0.5),
        (4.0, 4.0, week.DOUBT, 0.5),
        (9.0, 4.0, 1e9, 1.0),
        (-4.0, 4.0, 1e9, 0.0),
        (0.0, 0.0, 0.0, 0.0),
    ],
)
def test_a_week_is_expected_as_far_as_it_was_like_the_one_before(
    product: float, square: float, count: float, slope: float
) -> None:
    rows = LAYOUT.blank(1)
    rows["week"][0, :, 0] = 10.0
    rows["week_product"][0], rows["week_square"][0], rows["week_count"][0] = product, square, count
    found = week.usual(rows.carried_BP[0], rows.statistics_BQ[0], season.at(LAYOUT).week, 1, 0, 1000.0)
    assert found == pytest.approx(10.0 * slope, abs=1e-6)
