"""Event times: every notation becomes epoch microseconds, and a column is read as its values are one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.settings import TimeUnit
from anomaly_daemon.transport.times import LATEST, MISSING, UNREADABLE, Times

NOON = 1_700_049_600_000_000  # 2023-11-15T12:00:00Z


def read(value: Any, unit: TimeUnit = TimeUnit.AUTO, timezone: str = "UTC") -> int:
    return int(Times(unit, timezone).read([value])[0])


@pytest.mark.parametrize(
    "value",
    [
        "2023-11-15T12:00:00Z",
        "2023-11-15 12:00:00",
        "2023-11-15T13:00:00+01:00",
        "20231115T120000Z",
        "2023-11-15t12:00:00z",
        "2023-11-15T12:00:00.000z",
        "20231115t120000z",
        " 2023-11-15T12:00:00.000000000Z ",
        1700049600,
        1700049600.0,
        "1700049600",
        "1700049600.0",
        1700049600_000,
        1700049600_000_000,
        1700049600_000_000_000,
        "1700049600000000000",
        "1.7000496e+09",
        "1.700049600000000000e+09",
        "1.7000496E12",
        1.7000496e18,
    ],
)
def test_auto_tells_text_and_units_apart(value: Any) -> None:
    assert read(value) == NOON


def test_a_unit_is_taken_at_its_word() -> None:
    assert read(5, TimeUnit.SECONDS) == 5_000_000
    assert read(5, TimeUnit.MILLISECONDS) == 5_000
    assert read(5, TimeUnit.MICROSECONDS) == 5
    assert read(5999, TimeUnit.NANOSECONDS) == 5
    assert read("5.5", TimeUnit.SECONDS) == 5_500_000
    assert read(1700049600, TimeUnit.ISO) == UNREADABLE
    assert read("2023-11-15", TimeUnit.SECONDS) == UNREADABLE


@pytest.mark.parametrize("value", ["1.7e", "e9", "1.7e-9", "-1.7e9", "17.0e8", "1e99", "1.7e+009", "1.7e9e9", "nan"])
def test_other_texts_with_an_e_are_no_times(value: str) -> None:
    assert read(value) == UNREADABLE


def test_a_number_may_have_the_comma_of_other_numbers() -> None:
    assert Times(TimeUnit.SECONDS, "UTC", decimal=",").read(["1700049600,25", "1700049600"]).tolist() == [
        NOON + 250_000,
        NOON,
    ]
    assert read("1700049600,25") == UNREADABLE
    assert Times(TimeUnit.AUTO, "UTC", decimal=",").read(["2023-11-15 12:00:00,5"]).tolist() == [NOON + 500_000]


@pytest.mark.parametrize("value", ["1.700.049.600,25", "1.700.049.600", "1.700.049.600.250", "1700049600,250.5"])
def test_beside_a_decimal_comma_one_point_is_a_decimal_mark_and_points_between_thousands_make_no_time(
    value: str,
) -> None:
    times = Times(TimeUnit.SECONDS, "UTC", decimal=",")
    assert times.read(["1700049600.25", value]).tolist() == [NOON + 250_000, UNREADABLE]


@pytest.mark.parametrize("value", ["2016-12-31t23:59:60z", "z", "2023-11-15T12:00:00zz", "noonz"])
def test_a_small_z_makes_no_time_of_what_is_none(value: str) -> None:
    assert read(value) == UNREADABLE


def test_text_without_an_offset_is_in_the_configured_zone() -> None:
    assert read("2023-11-15T13:00:00", timezone="Europe/Berlin") == NOON
    assert read("2023-11-15T12:00:00Z", timezone="Europe/Berlin") == NOON
    assert read("2023-11-15t12:00:00z", timezone="Europe/Berlin") == NOON


def test_fractions_are_kept_to_the_microsecond() -> None:
    assert read("2023-11-15T12:00:00.123456Z") == NOON + 123_456
    assert read(1700049600.123456) == NOON + 123_456
    assert read("1700049600123456789") == NOON + 123_456


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_is_missing(value: Any) -> None:
    assert read(value) == MISSING


@pytest.mark.parametrize(
    "value",
    ["now", "NaT", "2023-13-01", "2023-11-15T12:00:60", "1969-12-31", "9" * 5000, "1" * 30, -1, 10**400, 2.0**200,
     float("nan"), float("inf"), True, [], {}, "０", "0001-01-01T00:00:00+14:00"],
)  # fmt: skip
def test_what_is_no_time_since_1970_is_unreadable(value: Any) -> None:
    assert read(value) == UNREADABLE


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.datetimes().map(str)
    | st.text("0123456789.", max_size=25)
)


@given(st.lists(scalars, max_size=6) | st.lists(st.integers(0, 2**62)), st.sampled_from(TimeUnit))
def test_a_column_reads_as_its_values_alone_and_never_raises(column: list[Any], unit: TimeUnit) -> None:
    times = Times(unit, "Europe/Berlin").read(column).tolist()
    assert times == [read(value, unit, "Europe/Berlin") for value in column]
    assert all(time in (MISSING, UNREADABLE) or 0 <= time <= LATEST for time in times)


@pytest.mark.parametrize(
    ("text", "form", "timezone"),
    [
        ("15.11.2023 12:00:00", "%d.%m.%Y %H:%M:%S", "UTC"),
        ("15.11.2023 13:00", "%d.%m.%Y %H:%M", "Europe/Berlin"),
        ("11/15/2023 12:00 PM", "%m/%d/%Y %I:%M %p", "UTC"),
        ("15/Nov/2023:13:00:00 +0100", "%d/%b/%Y:%H:%M:%S %z", "Asia/Tokyo"),
        ("20231115120000", "%Y%m%d%H%M%S", "UTC"),
    ],
)
def test_text_of_another_form_is_read_where_it_is_named(text: str, form: str, timezone: str) -> None:
    times = Times(TimeUnit.AUTO, timezone, form)
    assert times.read([text, text]).tolist() == [NOON, NOON]
    assert times.read(["2023-11-15T12:00:00Z", 1700049600, None, ""]).tolist() == [
        UNREADABLE,
        UNREADABLE,
        MISSING,
        MISSING,
    ]
