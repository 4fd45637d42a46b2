from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
from running_sum import MAKE, RunningSum

from anomaly_daemon.daemon.commit import Prepared
from anomaly_daemon.daemon.measure import count_commit, set_gauges
from anomaly_daemon.daemon.metrics import KNOWN_LABELS, METRICS, PREFIX, Metrics, Type, table
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.explain import iso
from anomaly_daemon.transport.ports import Commit, Partition


def test_every_metric_of_the_list_is_in_the_exposition_with_its_meaning() -> None:
    text = Metrics().text().decode()
    for metric in METRICS:
        name = PREFIX + metric.name
        assert f"# HELP {name.removesuffix('_total')}" in text
        assert metric.meaning in text


def test_the_exposition_holds_no_series_beside_the_list() -> None:
    samples = {
        line.partition("{")[0].partition(" ")[0] for line in Metrics().text().decode().splitlines() if line[0] != "#"
    }
    known = {PREFIX + metric.name + end for metric in METRICS for end in ("", "_bucket", "_count", "_sum")}
    assert samples <= known


def test_two_instances_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.count("records_total", 3)
    assert (one.value("records_total"), other.value("records_total")) == (3, 0)


def test_a_name_that_is_not_in_the_list_is_an_error() -> None:
    for use in (Metrics().count, Metrics().set, Metrics().observe):
        with pytest.raises(KeyError):
            use("bananas_total", 1)


def test_known_labels_show_as_zero_from_the_start() -> None:
    text = Metrics().text().decode()
    for name, values in KNOWN_LABELS.items():
        for value in values:
            assert f'{PREFIX}{name}{{{_label(name)}="{value}"}} 0.0' in text


def test_alerts_of_every_kind_show_as_zero_from_the_start() -> None:
    text = Metrics().text().decode()
    for kind, event in product(Kind, Event):
        assert f'{PREFIX}alerts_total{{event="{event.value}",kind="{kind.value}"}} 0.0' in text


def _label(name: str) -> str:
    return next(metric.labels[0] for metric in METRICS if metric.name == name)


def test_no_label_could_hold_a_streams_name() -> None:
    allowed = {"reason", "presence", "kind", "event", "state", "outcome", "name", "version", "digest", "model", "alone"}
    assert {label for metric in METRICS for label in metric.labels} <= allowed


def test_names_follow_the_conventions() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.type is Type.COUNTER), metric.name
        assert metric.meaning.endswith(".")
        assert bool(metric.buckets) == (metric.type is Type.HISTOGRAM)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_list_prints_as_a_table() -> None:
    lines = table().splitlines()
    assert len(lines) == 2 + len(METRICS)
    assert lines[2].startswith(f"| `{PREFIX}records_total` | counter |")


def test_a_histogram_counts_what_it_observed() -> None:
    metrics = Metrics()
    metrics.observe("step_seconds", 0.3)
    assert metrics.value("step_seconds") == 1
    assert b'anomaly_daemon_step_seconds_bucket{le="0.5"} 1.0' in metrics.text()


def test_an_alert_whose_append_time_has_no_calendar_date_is_counted() -> None:
    metrics, made = Metrics(), RunningSum(Partition("readings", 0))._alert("a", Kind.PATTERN, Event.OPEN, 0, 0, 0)
    appended = iso(1_740_787_200_000_000_000)  # the producer's clock gives microseconds as milliseconds
    alert = replace(made, times=replace(made.times, append=appended))
    count_commit(metrics, Prepared(Commit({}), (), {}, (alert,), (), False, 0), 0.1, 100.0)
    assert metrics.value("alerts_total", kind="pattern", event="open") == 1
    assert metrics.value("append_to_publish_seconds") == 0


def owned(number: int, streams: int, last_append: int = -1) -> Owned:
    detector = RunningSum(Partition("readings", number))
    detector.state = {str(at): [0, 0, 0, -1, -1, 0, 0] for at in range(streams)}
    return Owned(
        detector.partition,
        detector,
        MAKE,
        SnapshotPolicy(),
        0.0,
        0,
        0,
        [],
        [],
        [],
        [],
        b"",
        live=True,
        last_append=last_append,
    )


def test_the_age_of_what_is_read_counts_only_where_there_is_a_lag() -> None:
    metrics = Metrics()
    behind, level = owned(0, 1, last_append=90_000_000), owned(1, 1, last_append=10_000_000)
    set_gauges(metrics, [behind, level], {behind.partition: 5, level.partition: 0}, wall=100.0)
    assert metrics.value("lag_seconds") == pytest.approx(10.0)
    assert metrics.value("lag_records") == 5


def test_a_lag_is_not_known_while_the_end_of_one_partition_is_not() -> None:
    metrics = Metrics()
    assert math.isnan(metrics.value("lag_records"))
    assert math.isnan(metrics.value("lag_seconds"))
    known, unknown = owned(0, 1, last_append=90_000_000), owned(1, 1, last_append=10_000_000)
    set_gauges(metrics, [known, unknown], {known.partition: 5}, wall=100.0)
    assert math.isnan(metrics.value("lag_records"))
    assert math.isnan(metrics.value("lag_seconds"))
    set_gauges(metrics, [], {}, wall=100.0)
    assert metrics.value("lag_records") == metrics.value("lag_seconds") == 0, "who stands by has nothing left"


def test_the_age_is_not_known_while_nothing_was_read_of_a_partition_with_a_lag() -> None:
    """Such as one whose next records belong to a transaction that its producer left open. It used to be 0, "caught up"."""
    metrics = Metrics()
    unread, level = owned(0, 1), owned(1, 1, last_append=10_000_000)
    set_gauges(metrics, [unread, level], {unread.partition: 5, level.partition: 0}, wall=100.0)
    assert math.isnan(metrics.value("lag_seconds"))
    assert metrics.value("lag_records") == 5
    set_gauges(metrics, [unread, level], {unread.partition: 5, level.partition: 2}, wall=100.0)
    assert math.isnan(metrics.value("lag_seconds"))
    set_gauges(metrics, [unread, level], {unread.partition: 5, level.partition: 2}, wall=1000.0)
    assert metrics.value("lag_seconds") == pytest.approx(990.0), "it must not hide another that is known to be late"
    set_gauges(metrics, [unread, level], {unread.partition: 0, level.partition: 2}, wall=100.0)
    assert metrics.value("lag_seconds") == pytest.approx(90.0)


def test_the_realised_rate_is_the_mean_over_streams_and_unknown_without_any() -> None:
    metrics = Metrics()
    set_gauges(metrics, [owned(0, 3), owned(1, 0)], {}, wall=0.0)
    assert metrics.value("realised_alarms_per_stream_day") == 0.5
    set_gauges(metrics, [owned(1, 0)], {}, wall=0.0)
    assert math.isnan(metrics.value("realised_alarms_per_stream_day"))
