"""Parts metrics of OpenTelemetry, in JSON or as protobuf, into one record per data point.

Source of the format: `opentelemetry/proto/metrics/v1/metrics.proto`, and its JSON encoding ("OTLP/JSON"), in which
64-bit integers are texts. The OpenTelemetry Collector's Kafka exporter writes `otlp_proto` by default, and `otlp_json`;
its file exporter writes JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anomaly_daemon.transport.json_tree import json_tree
from anomaly_daemon.transport.rejection import Reason, Unreadable

Record = Mapping[str, Any]
_NO_RECORDED_VALUE = 1
"""The flag of a data point of a series that has ended: the point has no value."""
LONGEST_NAME = 1024
"""Longer names of metrics are refused. Each data point has a text that contains its metric's name, so a message with one
long name and many points would need much more memory than it has bytes. OpenTelemetry allows 255 characters."""
_PLAIN, _COUNTED = ("gauge", "sum"), ("histogram", "exponentialHistogram", "summary")
_INTEGER = re.compile("-?[0-9]{1,20}")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A number as JSON writes it. Its encoding of protobuf lets a double be such a text, too."""
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def points_of_json(value: bytes) -> Iterator[Record]:
    """Yield the data points of a message in JSON, see `data_points`. Raises Unreadable."""
    return data_points(json_tree(value))


def points_of_protobuf(value: bytes) -> Iterator[Record]:
    """Yield the data points of a message in protobuf, see `data_points`. Raises Unreadable."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

    try:
        metrics = MetricsData.FromString(value)
    except DecodeError as fault:
        raise Unreadable(Reason.MALFORMED, f"not metrics of OpenTelemetry in protobuf: {fault}") from fault
    return data_points({"resourceMetrics": [], **MessageToDict(metrics)})


def data_points(tree: Any) -> Iterator[Record]:
    """Yield one record per data point of a decoded message: `{"metric", "value", "timestamp", "resource": {...},
    "scope", "name", "unit", "counter", "attributes": {...}}`.

    `timestamp` is in nanoseconds. `metric` is the name with the point's attributes in order, such as
    `system.cpu.time{cpu=cpu0,state=user}`. `counter` says whether the value only rises. A histogram or summary is two
    records, whose names end in `_count` and `_sum`: its buckets are left out. Raises Unreadable.
    """
    if not isinstance(tree, dict) or "resourceMetrics" not in tree:
        raise Unreadable(Reason.MALFORMED, "an object with resourceMetrics is expected (OTLP/JSON)")
    for of_resource in _objects(tree, "resourceMetrics"):
        resource = _attributes(_object(of_resource, "resource"))
        for of_scope in _objects(of_resource, "scopeMetrics"):
            around = {"resource": resource, "scope": _object(of_scope, "scope").get("name")}
            for metric in _objects(of_scope, "metrics"):
                yield from _points(metric, around)


def _points(metric: Record, around: Record) -> Iterator[Record]:
    name = metric.get("name")
    if not isinstance(name, str):
        raise Unreadable(Reason.MALFORMED, "a metric has no name")
    if len(name) > LONGEST_NAME:
        raise Unreadable(Reason.MALFORMED, f"a metric's name has {len(name)} characters, more than {LONGEST_NAME}")
    around = {**around, "unit": metric.get("unit")}
    for kind in _PLAIN:
        data = _object(metric, kind)
        counter = data.get("isMonotonic") is True and _cumulative(data)
        for point in _objects(data, "dataPoints"):
            held = point.get("asDouble")
            yield _point(name, point, point.get("asInt") if held is None else held, {**around, "counter": counter})
    for kind in _COUNTED:
        data = _object(metric, kind)
        counter = kind == "summary" or _cumulative(data)
        for point in _objects(data, "dataPoints"):
            total = point.get("sum", 0.0 if kind == "summary" else None)  # a zero that is not optional is left out
            yield _point(f"{name}_count", point, point.get("count", 0), {**around, "counter": counter})
            yield _point(f"{name}_sum", point, total, {**around, "counter": counter})


def _cumulative(data: Record) -> bool:
    return data.get("aggregationTemporality") in (2, "AGGREGATION_TEMPORALITY_CUMULATIVE")


def _point(name: str, point: Record, value: Any, around: Record) -> Record:
    attributes = _attributes(point)
    inside = ",".join(f"{key}={_text(held)}" for key, held in sorted(attributes.items()))
    flags = _number(point.get("flags"))
    ended = isinstance(flags, int) and bool(flags & _NO_RECORDED_VALUE)
    return {
        "metric": f"{name}{{{inside}}}" if inside else name,
        "value": None if ended else _number(value),
        "timestamp": _number(point.get("timeUnixNano")),
        **around,
        "name": name,
        "attributes": attributes,
    }


def _attributes(of: Record) -> dict[str, Any]:
    """Return the attributes that are texts, numbers or booleans, by name."""
    found = dict[str, Any]()
    for one in _objects(of, "attributes"):
        held = _object(one, "value")
        plain = [held.get(kind) for kind in ("stringValue", "boolValue", "doubleValue")]
        plain.append(_number(held.get("intValue")))
        known = [each for each in plain if each is not None]
        if known and isinstance(name := one.get("key"), str):
            found[name] = known[0]
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> Any:
    """Return the number that a text holds, or one of the names of a number that is not finite; else the value
    unchanged."""
    if not isinstance(value, str):
        return value
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _DECIMAL.fullmatch(value) else _NOT_FINITE.get(value, value)


def _object(within: Record, name: str) -> Record:
    held = within.get(name)
    if held is None:
        return {}
    if not isinstance(held, dict):
        raise Unreadable(Reason.MALFORMED, f"{name} is not an object (OTLP/JSON)")
    return held


def _objects(within: Record, name: str) -> list[Record]:
    held = within.get(name)
    if held is None:
        return []
    if not isinstance(held, list) or not all(isinstance(one, dict) for one in held):
        raise Unreadable(Reason.MALFORMED, f"{name} is not a list of objects (OTLP/JSON)")
    return held
