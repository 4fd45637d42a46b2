"""Metrics of OpenTelemetry in JSON and as protobuf (`stream.format: otlp_json` and `otlp_proto`)."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from codec_batches import decode, reasons
from google.protobuf.json_format import Parse, ParseDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from anomaly_daemon.transport.otlp_metrics import points_of_json, points_of_protobuf
from anomaly_daemon.transport.rejection import Reason

TIME = 1_700_000_000
SETTINGS: dict[str, Any] = {"format": "otlp_json", "shape": "long", "key": ["resource.host.name"], "time": "timestamp"}


def attributes(**given: Any) -> list[Any]:
    kinds = {str: "stringValue", bool: "boolValue", float: "doubleValue"}
    return [{"key": key.replace("_", "."), "value": {kinds[type(value)]: value}} for key, value in given.items()]


def point(value: Any = None, *, time: int = TIME, **given: Any) -> dict[str, Any]:
    held = {} if value is None else {"asInt": str(value)} if isinstance(value, int) else {"asDouble": value}
    return {"timeUnixNano": str(time * 10**9), "attributes": attributes(**given), **held}


def message(*metrics: Any, host: str = "h1") -> bytes:
    scope = {"scope": {"name": "hostmetrics"}, "metrics": list(metrics)}
    resource = {"attributes": attributes(host_name=host)}
    return json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}).encode()


def gauge(name: str, *points: Any) -> dict[str, Any]:
    return {"name": name, "unit": "1", "gauge": {"dataPoints": list(points)}}


def test_a_data_point_is_a_record_with_what_lies_around_it() -> None:
    (found,) = points_of_json(message(gauge("cpu", point(0.5, state="user", cpu="c0"))))
    assert found == {
        "metric": "cpu{cpu=c0,state=user}",
        "value": 0.5,
        "timestamp": TIME * 10**9,
        "resource": {"host.name": "h1"},
        "scope": "hostmetrics",
        "unit": "1",
        "counter": False,
        "name": "cpu",
        "attributes": {"state": "user", "cpu": "c0"},
    }


def test_the_metrics_of_one_resource_and_time_are_one_event() -> None:
    cpu = gauge("cpu", point(0.5, state="user"), point(0.25, state="system"), point(0.75, time=TIME + 10, state="user"))
    numeric = ["cpu{state=user}", "cpu{state=system}", "mem"]
    decoded = decode([message(cpu, gauge("mem", point(7)))], numeric=numeric, **SETTINGS)
    found = decoded.observations
    assert found.keys == ("h1",)
    assert found.time_N.tolist() == [TIME * 1_000_000, (TIME + 10) * 1_000_000]
    assert np.array_equal(found.values_ND, [[0.5, 0.25, 7], [0.75, np.nan, np.nan]], equal_nan=True)
    assert decoded.rejected == ()


def test_sums_histograms_and_summaries() -> None:
    metrics = [
        {"name": "s", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point(3)]}},
        {"name": "d", "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point(4)]}},
        {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [point() | {"count": "9", "sum": 1.5}]}},
        {"name": "e", "exponentialHistogram": {"dataPoints": [point() | {"count": 2}]}},
        {"name": "q", "summary": {"dataPoints": [point() | {"count": "5", "sum": 2.5}]}},
        {"name": "z", "summary": {"dataPoints": [point()]}},
    ]
    found = {one["metric"]: (one["value"], one["counter"]) for one in points_of_json(message(*metrics))}
    assert found == {
        "s": (3, True),
        "d": (4, False),
        "h_count": (9, True),
        "h_sum": (1.5, True),
        "e_count": (2, False),
        "e_sum": (None, False),
        "q_count": (5, True),
        "q_sum": (2.5, True),
        "z_count": (0, True),
        "z_sum": (0.0, True),
    }


def test_numbers_as_text_and_points_without_a_value() -> None:
    points = [{"asDouble": "NaN"}, {"asDouble": 3.0, "flags": 1}, {}, {"asInt": "x"}, {"asInt": "1_0"}, {"asInt": "-7"}]
    decoded = decode([message(gauge("g", point() | one)) for one in points], numeric=["g"], **SETTINGS)
    assert decoded.observations.presence_ND[:, 0].tolist() == [3, 1, 1, 2, 2, 0]


@pytest.mark.parametrize(
    ("text", "number"), [("1.5", 1.5), ("-0.25", -0.25), ("1e3", 1000.0), ("2.5E-1", 0.25), ("7", 7.0)]
)
def test_a_double_may_be_a_text(text: str, number: float) -> None:
    summary = {"name": "h", "summary": {"dataPoints": [point() | {"count": "2", "sum": text}]}}
    value = message(gauge("g", point() | {"asDouble": text}), summary)
    for sent, form in ((value, "otlp_json"), (as_protobuf(value), "otlp_proto")):
        found = decode([sent], numeric=["g", "h_sum"], **SETTINGS | {"format": form}).observations
        assert found.values_ND.tolist() == [[number, number]]


def test_a_long_name_of_many_points_does_not_fill_the_memory() -> None:
    value = message(gauge("n" * 200_000, *(point(1, cpu=str(at)) for at in range(1000))))
    tracemalloc.start()
    try:
        decoded = decode([value], numeric=["g"], **SETTINGS)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reasons(decoded) == [Reason.MALFORMED]
    assert most < 20 * len(value)


def test_a_boolean_attribute_is_named_as_json_writes_it() -> None:
    (found,) = points_of_json(message(gauge("g", point(1, up=True, down=False))))
    assert found["metric"] == "g{down=false,up=true}"


def test_attributes_of_other_kinds_are_left_out() -> None:
    given = [
        {"key": "n", "value": {"intValue": "5"}},
        {"key": "l", "value": {"arrayValue": {"values": []}}},
        {"key": "e", "value": {"stringValue": ""}},
        {"value": {"stringValue": "x"}},
    ]
    (found,) = points_of_json(message(gauge("g", point(1) | {"attributes": given})))
    assert found["attributes"] == {"n": 5, "e": ""}


@pytest.mark.parametrize(
    "value",
    [
        b"3",
        b"[]",
        b'{"resourceLogs": []}',
        b'{"resourceMetrics": 3}',
        b'{"resourceMetrics": [3]}',
        b'{"resourceMetrics": [{"resource": 3}]}',
        message({"gauge": {"dataPoints": []}}),
        message({"name": "g", "gauge": {"dataPoints": {}}}),
    ],
)
def test_what_is_not_otlp_is_a_dead_letter(value: bytes) -> None:
    decoded = decode([value], numeric=["g"], **SETTINGS)
    assert (reasons(decoded), len(decoded.observations)) == ([Reason.MALFORMED], 0)


def test_a_message_without_metrics_holds_no_record() -> None:
    decoded = decode([b'{"resourceMetrics": []}', message()], numeric=["g"], **SETTINGS)
    assert (decoded.rejected, len(decoded.observations)) == ((), 0)


def as_protobuf(value: bytes) -> bytes:
    found: bytes = Parse(value, MetricsData()).SerializeToString()
    return found


def test_protobuf_is_read_as_its_json_is() -> None:
    cpu = gauge(
        "cpu", point(0.5, state="user"), point(float("1e300"), time=TIME + 10, state="user"), point(state="user")
    )
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point(2**60, device="eth0")]}
    held = {"aggregationTemporality": 2, "dataPoints": [point() | {"count": "9", "sum": 1.5, "flags": 0}]}
    metrics = [
        cpu,
        {"name": "io", "sum": total},
        {"name": "h", "histogram": held},
        gauge("nan", point() | {"asDouble": "NaN"}),
    ]
    value = message(*metrics)
    assert list(map(repr, points_of_protobuf(as_protobuf(value)))) == list(map(repr, points_of_json(value)))
    numeric, binary = ["cpu{state=user}", "io{device=eth0}", "h_count"], SETTINGS | {"format": "otlp_proto"}
    text, coded = decode([value], numeric=numeric, **SETTINGS), decode([as_protobuf(value)], numeric=numeric, **binary)
    assert np.array_equal(coded.observations.values_ND, text.observations.values_ND, equal_nan=True)
    assert coded.observations.index_N.tolist() == text.observations.index_N.tolist()


def logs() -> bytes:
    records = [{"timeUnixNano": "1", "body": {"stringValue": "x"}}]
    data = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    found: bytes = ParseDict(data, LogsData()).SerializeToString()
    return found


@pytest.mark.parametrize("value", [b"text", b"\xff\xff", b"\x0a\x05abc", logs(), message(gauge("g", point(1)))])
def test_what_is_not_metrics_in_protobuf_is_a_dead_letter(value: bytes) -> None:
    decoded = decode([value], numeric=["g"], **SETTINGS | {"format": "otlp_proto"})
    assert (reasons(decoded), len(decoded.observations)) == ([Reason.MALFORMED], 0)


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    decoded = decode([value], numeric=["g"], **SETTINGS | {"format": "otlp_proto"})
    assert len(decoded.rejected) <= 1
