"""From a sample of records to the configuration that reads them: guesses, each with what was seen.

The guesses go by what fields hold first and by what they are called second. They are written down with comments for a
person to correct; nothing else depends on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anomaly_daemon.transport.columns import text_of
from anomaly_daemon.transport.sample_fields import MOST_CLASSES, FieldSeen, look_at
from anomaly_daemon.transport.sample_key import SHARED, InTime, Key, key_of
from anomaly_daemon.transport.sample_names import (
    names_class,
    names_key,
    names_label,
    names_metric,
    names_number,
    names_time,
    names_value,
)
from anomaly_daemon.transport.sample_rows import Row, SampleRows
from anomaly_daemon.transport.sample_texts import clock, numbers_in_words
from anomaly_daemon.transport.sample_times import (
    TimeSeen,
    counts_up,
    day_and_clock,
    row_number,
    serial_days,
    tells_time,
    time_seen,
    time_unit,
    times_of,
)

Features = tuple[tuple[FieldSeen, ...], tuple[FieldSeen, ...], dict[str, str]]
"""Numeric and categorical features, and why every other field is left out."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """The guesses. `ignored` says of every other field why it is left out; a key without fields means the record's own."""

    rows: SampleRows
    seen: Mapping[str, FieldSeen]
    """Every field of the rows."""
    shape: Literal["wide", "long"]
    key: Key
    streams: int
    time: TimeSeen | None
    first: int
    last: int
    cadence_seconds: float | None
    numeric: tuple[FieldSeen, ...]
    categorical: tuple[FieldSeen, ...]
    metric: FieldSeen | None
    value: FieldSeen | None
    ignored: dict[str, str]
    together: float
    """The mean number of records of a stream at one time."""
    tells_apart: Key
    """Where records have keys of their own and share times: what else may name the stream."""
    counter: FieldSeen | None
    """Where no field tells the time: the one that counts up."""
    day_and_clock: tuple[FieldSeen, FieldSeen] | None
    """Where two fields tell the time together."""

    @property
    def quoted(self) -> list[str]:
        """The features whose numbers stand in quotes."""
        return [field.path for field in (*self.numeric, self.value) if field is not None and field.quoted]


def infer(sample: SampleRows) -> Inferred:
    """What the rows most likely are. Where every record has a key of its own, that is the stream's."""
    rows = sample.rows
    fields = {
        path: look_at(path, rows, sample.format == "json") for path in dict.fromkeys(p for row in rows for p in row)
    }
    time = time_seen(fields, rows)
    counter = None if time else counts_up(fields, rows)
    when = time.field if time else counter
    rest = {path: field for path, field in fields.items() if field is not when}
    metric, value = _long(rest)
    rest = {path: field for path, field in rest.items() if metric is None or field not in (metric, value)}
    metrics = [text_of(row.get(metric.path)) or "" for row in rows] if metric else [""] * len(rows)
    times = times_of(rows, time.field.path, time.form) if time else _ticks(rows, counter)
    keyed = all(sample.keys)
    own = sample.keys if keyed else [""] * len(rows)
    in_time = InTime(rows, times, [f"{key}\0{name}" for key, name in zip(own, metrics, strict=True)])
    found = key_of(rest, len(rows), in_time)
    key = Key() if keyed else found
    same = _repeats_of_key(sample, rest) if keyed else set()
    rest = {path: field for path, field in rest.items() if field not in key.fields and path not in same}
    keys = list(sample.keys) if keyed else ["/".join(_texts(row, key)) for row in rows]
    if metric is not None and value is not None:
        numeric, categorical, ignored = _metrics(rows, metric, value, rest)
    else:
        numeric, categorical, ignored = _features(rest, len(rows))
    ignored |= dict.fromkeys(same, "the same as the record's key") | dict(sample.lost)
    if counter is not None:
        ignored[counter.path] = "it counts up: see stream.time"
    known = [at for at in times if at >= 0] if time else []
    parts = [f"{key}\0{name}" for key, name in zip(keys, metrics, strict=True)]
    return Inferred(
        sample,
        fields,
        "wide" if metric is None else "long",
        key,
        len(set(keys)),
        time,
        min(known, default=-1),
        max(known, default=-1),
        _cadence(parts, times) if time else None,
        numeric,
        categorical,
        metric,
        value,
        ignored,
        in_time.together(in_time.codes(key.fields)) if time else 1.0,
        found if keyed and in_time.shared(in_time.codes(found.fields)) <= SHARED else Key(),
        counter,
        day_and_clock(fields, time),
    )


def _texts(row: Row, key: Key) -> list[str]:
    return [text_of(row.get(field.path)) or "" for field in key.fields]


def _ticks(rows: Sequence[Row], counter: FieldSeen | None) -> list[int]:
    """What counts up, in place of times: in its order and with what it shares, records can be told apart."""
    if counter is None or len(counter.numbers) != len(rows):
        return []
    low, high = counter.range()
    return [int((number - low) * 1_000_000) for number in counter.numbers] if high - low < 1e12 else []


def _repeats_of_key(sample: SampleRows, paths: Iterable[str]) -> set[str]:
    """The fields that hold in every row what the record's key says."""
    pairs = list(zip(sample.rows, sample.keys, strict=True))
    return {path for path in paths if all(text_of(row.get(path)) == key for row, key in pairs)}


def _long(fields: Mapping[str, FieldSeen]) -> tuple[FieldSeen | None, FieldSeen | None]:
    """A field that names metrics beside one that holds values is the long shape."""
    metric = next((f for p, f in fields.items() if names_metric(p) and f.textual and f.distinct <= 1000), None)
    value = next((f for p, f in fields.items() if names_value(p) and f.numeric), None)
    return (metric, value) if metric is not None and value is not None else (None, None)


def _metrics(rows: Sequence[Row], metric: FieldSeen, value: FieldSeen, rest: Iterable[str]) -> Features:
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if name := text_of(row.get(metric.path)):
            by_name[name].append({name: row.get(value.path)})
    numeric = tuple(look_at(name, found, json=False) for name, found in sorted(by_name.items()))
    return numeric, (), dict.fromkeys(rest, "not needed in the long shape")


def _features(fields: Mapping[str, FieldSeen], rows: int) -> Features:
    numeric: list[FieldSeen] = []
    categorical: list[FieldSeen] = []
    ignored: dict[str, str] = {}
    for path, field in fields.items():
        few = 2 <= field.distinct <= min(MOST_CLASSES, max(2, rows // 5))
        if why := _no_feature(field, few):
            ignored[path] = why
        elif field.numeric and not (few and field.whole and names_class(path)):
            numeric.append(field)
        elif few:
            categorical.append(field)
        else:
            ignored[path] = "always the same" if field.distinct == 1 else f"{field.distinct} different texts"
    return tuple(numeric), tuple(categorical), ignored


def _no_feature(field: FieldSeen, few: bool) -> str | None:
    """Why the field is left out whatever its values are."""
    if not field.values:
        return "always empty"
    if names_label(field.path):
        return "looks like a label: it would give the answer away"
    if row_number(field):
        return "the number of the row"
    if serial_days(field):
        return "times in days since 1900, as spreadsheets count them, cannot be read: have them written as text"
    if field.whole and not (few and names_class(field.path)):
        numbered = names_key(field.path) or names_number(field.path)
        if numbered or (names_time(field.path) and time_unit(field)):
            return "a number or a time of something, not a measurement"
    if field.textual and few and tells_time(field):
        return "a time of something"
    if field.textual and clock(field):
        return "the time of a day without the day"
    return numbers_in_words(field) if field.textual else None


def _cadence(keys: Sequence[str], times: Sequence[int]) -> float | None:
    """The typical seconds between two records of a stream."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for key, at in zip(keys, times, strict=False):
        if at >= 0:
            by_key[key].append(at)
    gaps = [gap for found in by_key.values() for gap in np.diff(sorted(found)).tolist() if gap > 0]
    return float(np.median(gaps)) / 1e6 if gaps else None
