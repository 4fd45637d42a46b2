"""A gap many times as long as usual: the last values before it are forgotten, and what is usual for the stream is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streams import MINUTE, detector, observations, schema

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.autoregression import ORDER
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.interruption import LAST
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.detection.scores import Step

DAY = 1440
HALF_PAST_ONE = 810
ROOM = schema(("x",))


@pytest.fixture(scope="module")
def shipped() -> Model:
    return read_model("pretrained")


def days(whole: int, interrupted: int, noise: float, fault: dict[int, float] | None = None) -> Observations:
    """Return a reading a minute from two rooms that warm up by day, for `whole` days; on each of the `interrupted` days
    after them there are no readings from 8:00 to 13:30. `fault` gives the amounts added to the first room, by minutes
    after the first gap."""
    minute = np.arange((whole + interrupted) * DAY)
    minute = minute[(minute < whole * DAY) | (minute % DAY < 480) | (minute % DAY >= HALF_PAST_ONE)]
    generator = np.random.default_rng(0)
    value_TS = 20 + 3 * np.sin(2 * np.pi * minute / DAY)[:, None] + generator.normal(0, noise, (len(minute), 2))
    for after, amount in (fault or {}).items():
        value_TS[minute == whole * DAY + HALF_PAST_ONE + after, 0] += amount
    keys = ["room-1", "room-2"] * len(minute)
    return observations(keys, np.repeat(minute, 2).tolist(), value_TS.reshape(-1, 1).tolist())


def patterns(step: Step, whole: int) -> list[tuple[str, int]]:
    """Return stream and minute of the day of each pattern episode that opened on the interrupted days."""
    opened = [one for one in step.alerts if one.event is Event.OPEN and one.kind is Kind.PATTERN]
    times = [np.datetime64(one.episode.start.rstrip("Z")).astype("datetime64[us]").astype(np.int64) for one in opened]
    minutes = [int(time - 1_700_000_000_000_000) // MINUTE for time in times]
    found = zip((one.stream.key for one in opened), minutes, strict=True)
    return [(key, minute % DAY) for key, minute in found if minute >= whole * DAY]


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_nobody_is_called_when_readings_come_back_as_they_usually_are(shipped: Model, noise: float) -> None:
    step = detector(ROOM, made=shipped).step(days(4, 3, noise))
    called = [at for _, at in patterns(step, 4) if HALF_PAST_ONE <= at < HALF_PAST_ONE + 60]
    assert called == []


@pytest.mark.parametrize("fault", [{0: 12.0}, {3: 12.0}, dict.fromkeys(range(120), 6.0)])
def test_what_is_odd_by_what_is_usual_is_told_of_all_the_same(shipped: Model, fault: dict[int, float]) -> None:
    """A spike at the first reading or soon after it, and a level that is different after the gap."""
    step = detector(ROOM, made=shipped).step(days(4, 1, 0.3, fault))
    called = [(key, at - HALF_PAST_ONE) for key, at in patterns(step, 4)]
    first = min(fault)
    assert [key for key, after in called if first <= after <= first + 30] == ["room-1"]


def gap_of(times: float) -> tuple[Detector, Observations]:
    """Return a detector with a stream that had an event every minute for 200 minutes, and the stream's next event
    `times` minutes later. Beside it is a stream that goes on without a gap."""
    generator, usual = np.random.default_rng(1), list(range(200))
    made = detector(ROOM)
    made.step(observations(["a", "b"] * 200, np.repeat(usual, 2).tolist(), generator.normal(5, 1, (400, 1)).tolist()))
    return made, observations(["b", "a"], [200, 199 + times], [[5.0], [5.5]])  # type: ignore[list-item]


LONG = float(np.ceil(np.log(DAY)))
"""Minutes. Where events keep no time and have gaps of one minute on average, a gap this long occurs once in as many
events as there are in a day, as allowed by a budget of one alarm."""


@pytest.mark.parametrize(("times", "forgets"), [(LONG - 1, False), (LONG, True)])
def test_what_came_last_is_forgotten_after_a_gap_that_is_so_much_longer(times: float, forgets: bool) -> None:
    made, after = gap_of(times)
    made.step(after)
    rows = made.slab.gather(made.slab.rows(["a", "b"]))
    here, beside = rows["autoregression_recent"][:, 0]
    assert np.isnan(here[1:]).all() == forgets
    assert not np.isnan(here[0])
    assert np.isnan(rows["window"][0, 1:]).all() == forgets
    assert not np.isnan(beside).any()
    assert not np.isnan(rows["window"][1]).all()


def test_whether_silences_are_told_of_makes_no_difference() -> None:
    made = detector(ROOM, Rules(silence=replace(Rules().silence, enabled=False)))
    made.step(observations(["a"] * 200, list(range(200)), np.random.default_rng(1).normal(5, 1, (200, 1)).tolist()))
    made.step(observations(["a"], [199 + int(LONG)], [[5.5]]))
    assert np.isnan(made.slab.gather(made.slab.rows(["a"]))["autoregression_recent"][0, 0, 1:]).all()


def test_a_stream_that_comes_in_bursts_is_not_always_at_a_beginning() -> None:
    """There are ten readings every 100 minutes. After the first of these gaps the last values are known, as in any
    other stream."""
    minutes = [100 * burst + reading for burst in range(30) for reading in range(10)]
    made = detector(ROOM)
    made.step(observations(["a"] * 300, minutes, np.random.default_rng(1).normal(5, 1, (300, 1)).tolist()))
    rows = made.slab.gather(made.slab.rows(["a"]))
    assert not np.isnan(rows["autoregression_recent"]).any()
    assert not np.isnan(rows["window"]).any()
    assert rows["untimely"][0] == pytest.approx(0.1, abs=0.02)


def test_what_keeps_no_time_is_never_interrupted() -> None:
    """Payments are an example: a long gap is one of many."""
    minutes = np.cumsum(1 + np.random.default_rng(2).exponential(60.0, 600).astype(np.int64))
    made = detector(ROOM)
    made.step(observations(["a"] * 600, minutes.tolist(), np.random.default_rng(1).normal(5, 1, (600, 1)).tolist()))
    made.step(observations(["a"], [int(minutes[-1]) + 60 * 20], [[5.5]]))
    rows = made.slab.gather(made.slab.rows(["a"]))
    assert not np.isnan(rows["autoregression_recent"]).any()
    assert rows["untimely"][0] == pytest.approx(np.exp(-2), abs=0.04)


def test_what_is_usual_stays_and_the_gap_is_learned() -> None:
    made, after = gap_of(LONG)
    before = made.slab.gather(made.slab.rows(["a"]))
    made.step(after)
    rows = made.slab.gather(made.slab.rows(["a"]))
    for name in ("norm_count", "level_count", "cal_count", "autoregression_error", "gap_count"):
        assert (rows[name] >= before[name]).all(), name
    assert rows["gap_mean"][0] > before["gap_mean"][0]


def test_an_event_after_a_gap_is_no_step_and_teaches_no_error() -> None:
    made, after = gap_of(LONG)
    before = made.slab.gather(made.slab.rows(["a"]))
    made.step(after)
    rows = made.slab.gather(made.slab.rows(["a"]))
    for name in ("step_count", "quiet_count", "error_count", "autoregression_count", "shape_count"):
        assert np.array_equal(rows[name], before[name]), name
    assert rows["last_x"][0] == 5.5


def test_the_last_values_have_a_word_again_when_all_of_them_are_new() -> None:
    made, after = gap_of(LONG)
    made.step(after)
    counts = []
    for n in range(1, ORDER + 3):
        made.step(observations(["a"], [199 + int(LONG) + n], [[5.0 + n % 3]]))
        counts.append(float(made.slab.gather(made.slab.rows(["a"]))["autoregression_count"][0, 0]))
    learned = np.flatnonzero(np.diff(counts) > 0)
    assert learned[0] == ORDER - 2  # the 24th new value is the first that has 24 new ones before the next
    assert (np.diff(counts)[learned[0] :] > 0).all()


def test_every_column_that_holds_what_came_last_is_there() -> None:
    assert LAST.keys() <= detector(ROOM).slab.layout.places.keys()
