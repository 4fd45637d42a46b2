"""Finds the fields of a sample that only rise within their streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.transport.counting import Rises
from anomaly_daemon.transport.sample_cells import number_of
from anomaly_daemon.transport.sample_fields import FieldSeen
from anomaly_daemon.transport.sample_missing import is_sentinel
from anomaly_daemon.transport.sample_rows import Row

MOST = 200
"""The number of streams that are checked one by one."""


def seen_to_rise(
    fields: Sequence[FieldSeen], rows: Sequence[Row], keys: Sequence[str], times: Sequence[int], long: Sequence[str]
) -> tuple[FieldSeen, ...]:
    """Return the fields with `rises` and `rises_in` set. `keys` name each row's stream. `long`: if rows hold one metric
    each, the names of the fields of the metric and of its value; else empty."""
    order_N = np.argsort(times, kind="stable") if len(times) else np.arange(len(rows))
    ordered = [rows[place] for place in order_N.tolist()]
    names, stream_N = np.unique(np.array(keys, object)[order_N].astype(str), return_inverse=True)
    return tuple(_seen(field, _values(field, ordered, long), stream_N.reshape(-1), names.tolist()) for field in fields)


def _values(field: FieldSeen, rows: Sequence[Row], long: Sequence[str]) -> Float64:
    if long:
        metric, value = long
        cells = (row.get(value) if row.get(metric) == field.path else None for row in rows)
    else:
        cells = (row.get(field.path) for row in rows)
    numbers = [number_of(cell) for cell in cells]
    absent = [number is None or is_sentinel(number, field.sentinels) for number in numbers]
    return np.array([np.nan if none else number for number, none in zip(numbers, absent, strict=True)])


def _seen(field: FieldSeen, value_N: Float64, stream_N: Int64, names: Sequence[str]) -> FieldSeen:
    together, some = Rises(), []
    together.read(stream_N, value_N)
    if together.counts or len(names) == 1:
        return replace(field, rises=together.counts)
    for stream in range(min(len(names), MOST)):
        alone, here_N = Rises(), stream_N == stream
        alone.read(stream_N[here_N], value_N[here_N])
        some += [names[stream]] * alone.counts
    return replace(field, rises_in=tuple(some))
