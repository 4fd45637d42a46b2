"""The demo's streams: seeded, in order of arrival, with faults where the plan places them."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from anomaly_daemon.demo.faults import DAY, HOUR, Fault, FaultKind, plan
from anomaly_daemon.demo.generator import MONDAY, Generated, sensor_records, transaction_records
from anomaly_daemon.demo.sensors import CURRENT, FAULT_HOURS, METRICS, PRESSURE, Plant, Readings, healthy, injected
from anomaly_daemon.demo.transactions import CATEGORIES, COMMON, Bank
from anomaly_daemon.report.episodes import micros

PLANT = Plant(MONDAY, machines=8, days=4)
BANK = Bank(MONDAY, cards=10, days=20)


@cache
def sensors() -> Generated:
    return sensor_records(0, PLANT, faults=8)


@cache
def cards() -> Generated:
    return transaction_records(0, BANK, faults=4)


def readable(generated: Generated) -> list[dict[str, Any]]:
    rows = []
    for record in generated.records:
        try:
            rows.append(json.loads(record.value))
        except ValueError:
            continue
    return rows


def with_fault(kind: FaultKind) -> tuple[Readings, Readings, slice]:
    """Return healthy readings, the same with one fault from 10:00 to 14:00 of the second day, and the place of the
    fault."""
    plant = Plant(MONDAY, machines=1, days=3)
    before = healthy(plant, np.random.default_rng(1))
    fault = Fault(plant.names[0], kind, MONDAY + DAY + 10 * HOUR, MONDAY + DAY + 14 * HOUR)
    after = injected(plant, before, (fault,), np.random.default_rng(2))
    first, last = np.searchsorted(before.time_MT[0], [fault.start, fault.end])
    return before, after, slice(int(first), int(last))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() -> None:
    assert sensor_records(0, PLANT, faults=8).records == sensors().records
    assert sensor_records(1, PLANT, faults=8).records != sensors().records
    assert transaction_records(0, BANK, faults=4).records == cards().records


@pytest.mark.parametrize("generated", [sensors, cards])
def test_records_stand_in_order_of_arrival_across_streams(generated: Any) -> None:
    arrivals = [record.arrival for record in generated().records]
    assert arrivals == sorted(arrivals)
    assert len({record.key for record in generated().records[:50]}) > 3


def test_a_reading_has_the_fields_of_the_shipped_configuration() -> None:
    row = readable(sensors())[0]
    assert set(row) == {"machine", "time", *METRICS}
    assert row["time"].endswith("Z")
    assert micros(row["time"]) // 1_000_000 == sensors().records[0].arrival // 1_000_000


def test_a_payment_has_the_fields_of_the_shipped_configuration() -> None:
    row = readable(cards())[0]
    assert set(row) == {"card", "time", "amount", "merchant_category", "channel"}
    assert row["time"] == cards().records[0].arrival // 1000


def test_some_records_come_twice_some_late_and_a_few_cannot_be_read() -> None:
    big = sensor_records(0)
    values = Counter(record.value for record in big.records)
    assert 10 < sum(count == 2 for count in values.values()) < 200
    assert 0 < len(big.records) - len(readable(big)) < 50
    times = [micros(row["time"]) for row in readable(big)]
    assert sum(later < earlier - 600_000_000 for earlier, later in pairwise(times)) > 10


def test_there_are_gaps_and_missing_values_without_any_fault() -> None:
    readings = healthy(Plant(MONDAY), np.random.default_rng(0))
    assert 0.0 < 1 - readings.sent_MT.mean() < 0.01
    assert 0.0 < 1 - readings.present_MTD.mean() < 0.01


def test_metrics_follow_the_machine_s_load_through_the_day() -> None:
    readings = healthy(Plant(MONDAY, machines=4, days=4), np.random.default_rng(0))
    for values_TD in readings.values_MTD:
        correlation = np.corrcoef(values_TD.T)
        assert correlation[0, CURRENT] > 0.7
        assert correlation[0, PRESSURE] < -0.7
        daily = values_TD[:1152].reshape(4, 288, 4)
        assert np.corrcoef(daily[0, :, 0], daily[1, :, 0])[0, 1] > 0.7


def test_every_kind_of_fault_is_injected_and_no_stream_gets_two_before_every_other_has_one() -> None:
    kinds = Counter(fault.kind for fault in sensor_records(0).faults)
    assert set(kinds.values()) == {5}
    assert set(kinds) == set(FAULT_HOURS)
    assert len({fault.stream for fault in sensors().faults}) == PLANT.machines


def test_faults_leave_a_day_of_history_before_them_and_stand_in_the_run() -> None:
    for generated in (sensors(), cards()):
        assert min(fault.start for fault in generated.faults) > generated.start + DAY
        assert all(fault.start < fault.end <= generated.end for fault in generated.faults)


def test_two_faults_of_one_stream_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        plan(["a"], {FaultKind.STUCK: (5.0, 5.0)}, 4, (0, HOUR), np.random.default_rng(0))


def test_a_fault_changes_nothing_before_it_and_nothing_after_it() -> None:
    for kind in FAULT_HOURS:
        before, after, there = with_fault(kind)
        for name in ("values_MTD", "present_MTD", "sent_MT"):
            was, now = getattr(before, name)[0], getattr(after, name)[0]
            assert np.array_equal(was[: there.start], now[: there.start]), kind
            assert np.array_equal(was[there.stop :], now[there.stop :]), kind
        assert any(
            not np.array_equal(getattr(before, name), getattr(after, name))
            for name in ("values_MTD", "present_MTD", "sent_MT")
        ), kind


def test_a_stuck_sensor_repeats_its_last_value_in_one_metric_only() -> None:
    _before, after, there = with_fault(FaultKind.STUCK)
    constant = np.ptp(after.values_MTD[0, there], axis=0) == 0
    assert constant.sum() == 1
    (metric,) = np.flatnonzero(constant)
    assert after.values_MTD[0, there.start, metric] == after.values_MTD[0, there.start - 1, metric]


def test_a_silent_machine_sends_nothing() -> None:
    _before, after, there = with_fault(FaultKind.SILENCE)
    assert not after.sent_MT[0, there].any()


def test_a_vanished_field_is_one_metric_of_every_record() -> None:
    _before, after, there = with_fault(FaultKind.VANISHED_FIELD)
    assert sorted(after.present_MTD[0, there].any(axis=0)) == [False, True, True, True]


def test_a_unit_change_is_a_factor_of_a_hundred_in_pressure() -> None:
    before, after, there = with_fault(FaultKind.UNIT_CHANGE)
    ratio = after.values_MTD[0, there] / before.values_MTD[0, there]
    assert np.allclose(ratio[:, PRESSURE], 100)
    assert np.allclose(np.delete(ratio, PRESSURE, axis=1), 1)


def test_a_correlation_break_stays_within_the_metric_s_own_range() -> None:
    before, after, there = with_fault(FaultKind.CORRELATION_BREAK)
    usual, broken = before.values_MTD[0, :, CURRENT], after.values_MTD[0, there, CURRENT]
    spread = usual.std()
    assert usual.min() - spread < broken.min() < broken.max() < usual.max() + spread
    whole = slice(len(broken) // 4 + 1, None)
    assert np.corrcoef(broken[whole], before.values_MTD[0, there, CURRENT][whole])[0, 1] == pytest.approx(-1)
    assert broken[0] == before.values_MTD[0, there.start, CURRENT], "no jump gives it away"


def test_a_drift_begins_at_nothing_and_grows() -> None:
    before, after, there = with_fault(FaultKind.DRIFT)
    moved = np.abs(after.values_MTD[0, there] - before.values_MTD[0, there]).max(axis=1)
    assert moved[0] == 0
    assert (np.diff(moved) > 0).all()


def test_a_burst_is_many_times_the_card_s_usual_amounts() -> None:
    payments = readable(cards())
    burst = next(fault for fault in cards().faults if fault.kind is FaultKind.AMOUNT_BURST)
    own = [row for row in payments if row["card"] == burst.stream]
    inside = [row["amount"] for row in own if burst.start <= row["time"] * 1000 < burst.end]
    usual = np.median([row["amount"] for row in own])
    assert len(inside) >= 6
    assert np.median(inside) > 5 * usual


def test_a_foreign_run_uses_categories_that_no_card_uses() -> None:
    foreign = set(CATEGORIES[COMMON:])
    runs = [fault for fault in cards().faults if fault.kind is FaultKind.FOREIGN_CATEGORY]
    strange = [row for row in readable(cards()) if row["merchant_category"] in foreign]
    assert {row["card"] for row in strange} == {fault.stream for fault in runs}
    for row in strange:
        moment = row["time"] * 1000 + 999
        assert any(fault.start <= moment and row["time"] * 1000 < fault.end for fault in runs)
