"""From a sample of records to the configuration that reads them: guesses, each with what was seen.

The guesses go by what fields hold first and by what they are called second. They are written down with comments for a
person to correct; nothing else depends on them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anomaly_daemon.settings import TimeUnit
from anomaly_daemon.transport.columns import text_of
from anomaly_daemon.transport.sample_fields import MOST_CLASSES, FieldSeen, look_at, time_format, time_unit, times_of
from anomaly_daemon.transport.sample_rows import Row, SampleRows

TIME_NAMES = re.compile(
    r"(^|[._@])(time|timestamp|ts|date|datetime|event_?time|at|when|zeit|zeitpunkt|datum|fecha|horodatage)$|"
    r"_at$|_?time(stamp)?$|zeit(stempel)?$",
    re.I,
)
KEY_NAMES = re.compile(
    r"(?i:(^|[._])(id|key|name|device|sensor|host|hostname|machine|instance|node|unit|pump|account|card|customer|user|"
    r"client|merchant|station|site|asset|meter|vehicle)$|[._-](id|key|no|number)$)|[a-z]I[dD]$"
)
METRIC_NAMES = re.compile(r"(^|[._])(metric|metric_?name|measurement|parameter|variable|signal|tag|quantity)$", re.I)
VALUE_NAMES = re.compile(r"(^|[._])(value|val|reading|measure)$", re.I)
CLASS_NAMES = re.compile(r"(type|kind|class|code|status|state|mode|category|level|flag)$", re.I)
LABEL_NAMES = re.compile(r"(^|[._])(label|is_?anomaly|is_?fraud|anomaly|fraud|ground_?truth|target)$", re.I)
REPEATS = 3
"""A stream's key comes back at least so often in a sample, on average."""


Features = tuple[tuple[FieldSeen, ...], tuple[FieldSeen, ...], dict[str, str]]
"""Numeric and categorical features, and why every other field is left out."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """The guesses. `ignored` says of every other field why it is left out; `key` None means the record's own key."""

    rows: SampleRows
    shape: Literal["wide", "long"]
    key: FieldSeen | None
    streams: int
    time: FieldSeen | None
    unit: TimeUnit | None
    first: int
    last: int
    cadence_seconds: float | None
    numeric: tuple[FieldSeen, ...]
    categorical: tuple[FieldSeen, ...]
    metric: FieldSeen | None
    value: FieldSeen | None
    ignored: dict[str, str]
    time_format: str | None = None

    @property
    def quoted(self) -> list[str]:
        """The features whose numbers stand in quotes."""
        return [field.path for field in (*self.numeric, self.value) if field is not None and field.quoted]


def infer(sample: SampleRows) -> Inferred:
    """What the rows most likely are. Where every record has a key of its own, that is the stream's."""
    paths = dict.fromkeys(path for row in sample.rows for path in row)
    fields = {path: look_at(path, sample.rows, sample.format == "json") for path in paths}
    time, unit, form = _time(fields, sample.rows)
    rest = {path: field for path, field in fields.items() if field is not time}
    metric, value = _long(rest)
    if metric is not None and value is not None:
        rest = {path: field for path, field in rest.items() if path not in (metric.path, value.path)}
    keyed = all(sample.keys)
    key = None if keyed else _key(rest, len(sample.rows))
    same = _repeats_of_key(sample, rest) if keyed else set()
    rest = {path: field for path, field in rest.items() if field is not key and path not in same}
    keys = list(sample.keys) if keyed else [(text_of(row.get(key.path)) or "") if key else "" for row in sample.rows]
    times = times_of(sample.rows, time.path, form) if time else []
    known = [at for at in times if at >= 0]
    if metric is not None and value is not None:
        numeric, categorical, ignored = _metrics(sample.rows, metric, value, rest)
        keys = [f"{k}\0{row.get(metric.path)}" for k, row in zip(keys, sample.rows, strict=True)]
    else:
        numeric, categorical, ignored = _features(rest, len(sample.rows))
    ignored |= dict.fromkeys(same, "the same as the record's key")
    return Inferred(
        sample,
        "wide" if metric is None else "long",
        key,
        len({k.split("\0")[0] for k in keys}),
        time,
        unit,
        min(known, default=-1),
        max(known, default=-1),
        _cadence(keys, times),
        numeric,
        categorical,
        metric,
        value,
        ignored,
        form,
    )


def _repeats_of_key(sample: SampleRows, paths: Iterable[str]) -> set[str]:
    """The fields that hold in every row what the record's key says."""
    pairs = list(zip(sample.rows, sample.keys, strict=True))
    return {path for path in paths if all(text_of(row.get(path)) == key for row, key in pairs)}


def _time(fields: dict[str, FieldSeen], rows: Sequence[Row]) -> tuple[FieldSeen | None, TimeUnit | None, str | None]:
    """The field that tells time best: text, a telling name, and running forward all speak for it."""
    best: tuple[float, FieldSeen, TimeUnit, str | None] | None = None
    for field in fields.values():
        unit, form = time_unit(field), None
        if unit is None and (form := time_format(field)):
            unit = TimeUnit.ISO
        if unit is None or field.missing_share > 0.1:
            continue
        steps = np.diff(times_of(rows, field.path, form))
        forward = float((steps >= 0).mean()) if len(steps) else 1.0
        points = 2 * bool(TIME_NAMES.search(field.path)) + (unit is TimeUnit.ISO) + (forward > 0.9)
        points += forward > 0.9 and field.numeric and field.distinct > len(rows) / 100  # a clock, or it looks like one
        if points >= 2 and (best is None or points > best[0]):
            best = (points, field, unit, form)
    return (None, None, None) if best is None else best[1:]


def _long(fields: dict[str, FieldSeen]) -> tuple[FieldSeen | None, FieldSeen | None]:
    """A field that names metrics beside one that holds values is the long shape."""
    metric = next((f for p, f in fields.items() if METRIC_NAMES.search(p) and f.textual and f.distinct <= 1000), None)
    value = next((f for p, f in fields.items() if VALUE_NAMES.search(p) and f.numeric), None)
    return (metric, value) if metric is not None and value is not None else (None, None)


def _metrics(rows: Sequence[Row], metric: FieldSeen, value: FieldSeen, rest: Iterable[str]) -> Features:
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if name := text_of(row.get(metric.path)):
            by_name[name].append({name: row.get(value.path)})
    numeric = tuple(look_at(name, found, json=False) for name, found in sorted(by_name.items()))
    return numeric, (), dict.fromkeys(rest, "not needed in the long shape")


def _key(fields: dict[str, FieldSeen], rows: int) -> FieldSeen | None:
    """A field by whose name and repeats the rows are those of several streams."""
    fitting = [
        field
        for field in fields.values()
        if KEY_NAMES.search(field.path)
        and not LABEL_NAMES.search(field.path)
        and (field.textual or field.whole)
        and field.missing_share == 0
        and field.distinct * REPEATS <= rows
    ]
    return max(fitting, key=lambda field: (field.textual, field.distinct), default=None)


def _features(fields: dict[str, FieldSeen], rows: int) -> Features:
    numeric: list[FieldSeen] = []
    categorical: list[FieldSeen] = []
    ignored: dict[str, str] = {}
    for path, field in fields.items():
        few = 2 <= field.distinct <= min(MOST_CLASSES, max(2, rows // 5))
        if not field.values:
            ignored[path] = "always empty"
        elif LABEL_NAMES.search(path):
            ignored[path] = "looks like a label: it would give the answer away"
        elif field.whole and (KEY_NAMES.search(path) or (TIME_NAMES.search(path) and time_unit(field))):
            ignored[path] = "a number or a time of something, not a measurement"
        elif field.numeric and not (few and field.whole and CLASS_NAMES.search(path)):
            numeric.append(field)
        elif few:
            categorical.append(field)
        else:
            ignored[path] = "always the same" if field.distinct == 1 else f"{field.distinct} different texts"
    return tuple(numeric), tuple(categorical), ignored


def _cadence(keys: Sequence[str], times: Sequence[int]) -> float | None:
    """The typical seconds between two records of a stream."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for key, at in zip(keys, times, strict=False):
        if at >= 0:
            by_key[key].append(at)
    gaps = [gap for found in by_key.values() for gap in np.diff(sorted(found)).tolist() if gap > 0]
    return float(np.median(gaps)) / 1e6 if gaps else None
