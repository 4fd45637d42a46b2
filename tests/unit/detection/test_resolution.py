"""How small a field's own deviation may be compared with its level, and a fault compared with the rest of its days."""

from __future__ import annotations

import numpy as np
import pytest
from streams import MINUTE, START, detector, observations, schema

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.alert import Event
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.resolution import ABSOLUTE, AT_REST, RELATIVE, least, rounding
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.settings import PRETRAINED

DAY = 1440
"""Number of events in a day, a minute apart."""


def opened(values: Float64, rules: Rules | None = None) -> list[int]:
    """Return the offsets at which episodes open with the shipped network."""
    made, count = detector(schema(["x"]), rules, read_model(PRETRAINED)), len(values)
    step = made.step(observations(["s"] * count, range(count), values[:, None].tolist()))
    return [one.provenance.first_offset for one in step.alerts if one.event is Event.OPEN]


@pytest.mark.parametrize(
    ("level", "deviation"),
    [(52.52, 0.00002), (50.0, 0.02), (300.0, 0.002), (4e12, 1e7), (1e7, 1.0), (0.0, 1e-9), (20e-12, 0.3e-12)],
)
def test_a_field_is_measured_by_its_own_deviation_however_small_beside_its_level(
    level: float, deviation: float
) -> None:
    """Examples: a latitude, the mains frequency, kelvins, bytes of a disk, picofarads."""
    hum = np.random.default_rng(0).normal(size=6000)
    hum[5900:] += 15.0
    assert any(5900 <= at < 5905 for at in opened(level + deviation * hum))


def test_what_is_rounding_alone_is_no_deviation() -> None:
    values = np.full(1500, 20.0)
    values[1400:] = np.nextafter(np.float32(20.0), np.float32(21.0))
    assert opened(values) == []
    values = np.zeros(1500)
    values[1400:] = 0.1 + 0.2 - 0.3
    assert opened(values) == []
    assert (rounding(-1e6), rounding(0.0)) == (RELATIVE * 1e6, ABSOLUTE)


def test_of_a_field_that_is_not_known_to_move_a_thousandth_of_its_level_is_the_least() -> None:
    assert least(-200.0, False) == AT_REST * 200.0
    assert least(200.0, True) == rounding(200.0) == RELATIVE * 200.0
    assert least(0.0, False) == ABSOLUTE


def test_where_one_day_is_like_the_other_a_fault_is_as_large_as_it_is() -> None:
    """The average is winsorised at six of the day's own deviations, which are close to 0 compared with the field's."""
    place = (START // MINUTE + np.arange(8 * DAY)) % DAY
    values = np.where((place >= DAY // 4) & (place < 3 * DAY // 4), 80.0, 60.0)
    fault = 7 * DAY + 60
    values[fault:] += 40.0
    assert any(fault <= at < fault + 3 for at in opened(values))


def test_what_slides_away_is_no_habit_by_the_time_that_it_is_large() -> None:
    time, noise = np.arange(8 * DAY), np.random.default_rng(0).normal(size=8 * DAY)
    fault = 7 * DAY
    slide = np.maximum(time - fault, 0) / (DAY / 24) * 1.0
    values = 20.0 + 5.0 * np.sin(2.0 * np.pi * time / DAY) + 0.05 * noise + slide
    assert any(at >= fault for at in opened(values))
