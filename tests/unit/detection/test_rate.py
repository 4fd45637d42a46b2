"""A counter is judged by what it counts a second, exactly as a field that holds this rate would be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from streams import MINUTE, START, detector, model, observations

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.detection.observation import Float64, Numeric, Observations, Schema, Transform
from anomaly_daemon.detection.rate import of_series
from anomaly_daemon.detection.scorer import Scorer
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.training.calibrate import evidence_of
from anomaly_daemon.training.dataset import Series
from anomaly_daemon.training.rows import network_rows

COUNTED = Schema((Numeric("cpu"), Numeric("bytes", Transform.RATE)))
PLAIN = Schema((Numeric("cpu"), Numeric("bytes")))
BYTES = 1
TOLD = ("status_N", "score_N", "p_value_N", "expected_NF", "evidence_NJ")


def traffic(events: int = 300, seed: int = 0) -> tuple[Float64, Float64]:
    """Return a load and a counter of bytes, once a minute; and the load with the number of bytes counted per second."""
    generator = np.random.default_rng(seed)
    cpu, rise = generator.normal(40, 2, events), np.floor(generator.normal(1000, 50, events)) * 60
    total = 5e9 + np.cumsum(rise)
    rate = np.concatenate([[np.nan], np.diff(total) / (60 * 1e6) * 1e6])
    return np.column_stack([cpu, total]), np.column_stack([cpu, rate])


def minutes(values_ND: Float64, first: int = 0) -> Observations:
    times = range(first, first + len(values_ND))
    return observations(["host"] * len(values_ND), list(times), values_ND.tolist(), first_offset=first)


def rates(made: Detector, times: list[float], totals: list[float]) -> list[float]:
    """Return the rates by which one counter is judged."""
    read = observations(["host"] * len(times), [0] * len(times), [[total] for total in totals])
    return (
        made.step(replace(read, time_N=START + (np.array(times) * MINUTE).astype(np.int64)))
        .scores.rate_NC[:, 0]
        .tolist()
    )


def counter() -> Detector:
    return detector(Schema((Numeric("bytes", Transform.RATE),)))


def told(step: Step) -> dict[str, list[float]]:
    return {name: getattr(step.scores, name).tolist() for name in TOLD}


def test_a_counter_is_judged_as_a_field_that_holds_what_it_counts_a_second() -> None:
    totals, plain = traffic()
    counted, twin = detector(COUNTED).step(minutes(totals)), detector(PLAIN).step(minutes(plain))
    for name, column in told(counted).items():
        np.testing.assert_array_equal(column, told(twin)[name], name)
    assert counted.scores.rate_NC[:, 0].tolist()[1:] == plain[1:, BYTES].tolist()


def test_a_counter_that_rises_faster_is_told_of_by_how_fast_it_rises() -> None:
    totals, _ = traffic(600)
    totals[500:, BYTES] += np.arange(1, 101) * 60 * 9000
    opened = [one for one in detector(COUNTED).step(minutes(totals)).alerts if one.event is Event.OPEN]
    assert [(one.kind, one.features[0].name) for one in opened] == [(Kind.PATTERN, "bytes")]
    assert 9000 < float(str(opened[0].features[0].actual)) < 11000


def test_a_counter_that_begins_anew_has_no_value_once_and_alarms_nobody() -> None:
    totals, plain = traffic(600)
    totals[500:, BYTES] -= totals[500, BYTES]
    plain[500, BYTES] = np.nan
    step, twin = detector(COUNTED).step(minutes(totals)), detector(PLAIN).step(minutes(plain))
    assert step.alerts == []
    np.testing.assert_array_equal(step.scores.p_value_N, twin.scores.p_value_N)


def test_what_is_counted_is_spread_over_the_time_since_the_last_value() -> None:
    nan = float("nan")
    assert rates(counter(), [0, 1, 3], [0.0, 60.0, 300.0])[1:] == [1.0, 2.0]
    found = rates(counter(), [0, 1, 2, 3, 4], [0.0, nan, 120.0, 60.0, 180.0])
    np.testing.assert_array_equal(found, [nan, nan, 1.0, nan, 2.0])


def test_what_comes_at_the_same_instant_goes_to_the_next() -> None:
    found = rates(counter(), [0, 1, 1, 2], [0.0, 60.0, 90.0, 180.0])
    np.testing.assert_array_equal(found, [np.nan, 1.0, np.nan, 2.0])


def test_over_a_long_gap_nothing_was_counted_that_is_of_now() -> None:
    made = counter()
    rates(made, list(range(100)), [60.0 * minute for minute in range(100)])
    found = rates(made, [400, 401], [1e6, 1e6 + 120.0])
    np.testing.assert_array_equal(found, [np.nan, 2.0])


def test_a_batch_cut_in_two_and_a_restart_between_change_nothing() -> None:
    totals, _ = traffic()
    whole, first, second = (detector(COUNTED) for _ in range(3))
    expected = whole.step(minutes(totals))
    before = first.step(minutes(totals[:170]))
    for bucket in range(8):
        second.restore(first.export(bucket, 8))
    second.watermark, second.last_offset = first.watermark, first.last_offset
    after = second.step(minutes(totals[170:], 170))
    for name in (*TOLD, "rate_NC"):
        parts = [getattr(one.scores, name) for one in (before, after)]
        np.testing.assert_array_equal(np.concatenate(parts), getattr(expected.scores, name), name)


def test_a_row_holds_nothing_more_where_no_field_is_a_counter() -> None:
    names = set(detector(PLAIN).slab.layout.places)
    assert set(detector(COUNTED).slab.layout.places) - names == {"counter_value", "counter_time"}


def test_training_sees_what_the_detector_sees() -> None:
    totals, plain = traffic()
    totals[200:, BYTES] -= totals[200, BYTES]
    judged = detector(COUNTED).step(minutes(totals)).scores.rate_NC[:, 0]
    time_T, none = START + np.arange(len(totals)) * MINUTE, np.zeros((len(totals), 0), np.int64)
    np.testing.assert_array_equal(of_series(COUNTED.numeric, time_T, totals)[:, BYTES], judged)
    plain[:, BYTES] = judged
    counted, twin = Series("host", time_T, totals, none), Series("host", time_T, plain, none)
    (row,), (other,) = (
        network_rows([one], of, {}, Normalizer(), Layout.JOINT) for one, of in ((counted, COUNTED), (twin, PLAIN))
    )
    np.testing.assert_array_equal(row.values_TD, other.values_TD)
    rules = detector().rules
    (found,), (like,) = (
        evidence_of(Scorer(model(), of, rules), [one]) for one, of in ((counted, COUNTED), (twin, PLAIN))
    )
    np.testing.assert_array_equal(found, like)
