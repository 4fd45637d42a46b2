"""Infers from a sample of records the configuration that reads them. Each guess is given with what was seen.

The guesses depend first on what the fields hold, and second on their names. They are written with comments for a person
to correct. Nothing else depends on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from anomaly_daemon.transport.columns import text_of
from anomaly_daemon.transport.influx_lines import SERIES
from anomaly_daemon.transport.sample_fields import MOST_CLASSES, FieldSeen, look_at
from anomaly_daemon.transport.sample_key import SHARED, InTime, Key, key_of
from anomaly_daemon.transport.sample_names import (
    names_class,
    names_holder,
    names_key,
    names_label,
    names_metric,
    names_number,
    names_time,
    names_value,
)
from anomaly_daemon.transport.sample_rising import seen_to_rise
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

Floats = npt.NDArray[np.float64]

SELDOM_SECONDS = 600.0
"""Payments of one card are at least this far apart, at the median."""
SEVERAL_STREAMS, SEVERAL_GAPS = 10, 4
"""Whether streams keep time is judged only from at least so many streams with at least so many gaps each."""
UNTIMELY = 0.1
"""Streams do not keep time if at least this share of their gaps is longer than twice the stream's usual one."""

Features = tuple[tuple[FieldSeen, ...], tuple[FieldSeen, ...], dict[str, str]]
"""The numeric features, the categorical features, and for every other field the reason why it is not used."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """The guesses. `ignored` has the reason why each other field is not used. A key without fields means the record's
    own key."""

    rows: SampleRows
    seen: Mapping[str, FieldSeen]
    """Every field of the rows, by path."""
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
    """The mean number of records that a stream has at one time."""
    tells_apart: Key
    """The fields that would name the stream, if records have keys of their own and yet share times; else empty."""
    counter: FieldSeen | None
    """The field that counts up, if no field tells the time."""
    day_and_clock: tuple[FieldSeen, FieldSeen] | None
    """The two fields that tell the time together: the day and the time of day."""
    timely: bool | None
    """Whether the streams keep time; None if too few streams have enough records to judge."""

    @property
    def payments(self) -> bool:
        """Whether the records look like payments: many streams with few records at irregular times, and amounts over
        orders of magnitude. If too few streams have enough records to judge their times, the streams must be cards,
        accounts or customers by name."""
        if self.timely is None:
            irregular = self.streams >= SEVERAL_STREAMS and any(names_holder(field.path) for field in self.key.fields)
        else:
            irregular = not self.timely and (self.cadence_seconds or 0.0) >= SELDOM_SECONDS
        return irregular and any(field.heavy_tailed() for field in self.numeric)

    @property
    def quoted(self) -> list[str]:
        """The features whose numbers are in quotes."""
        return [field.path for field in (*self.numeric, self.value) if field is not None and field.quoted]


@np.errstate(over="ignore", invalid="ignore")
def infer(sample: SampleRows) -> Inferred:
    """Return what the rows most likely are. If every record has a key of its own, that key names the stream."""
    rows = sample.rows
    names = dict.fromkeys(name for row in rows for name in row)
    fields = {name: look_at(name, rows, sample.format != "csv") for name in names}
    time = time_seen(fields, rows)
    counter = None if time else counts_up(fields, rows)
    rest = _without(fields, time.field if time else counter)
    metric, value = _long(rest)
    rest = _without(rest, metric, value)
    metrics = [text_of(row.get(metric.path)) or "" for row in rows] if metric else [""] * len(rows)
    times = times_of(rows, time.field.path, time.form) if time else []
    in_time = _in_time(sample, times or _ticks(rows, counter), metrics)
    key, tells_apart = _keys(sample, rest, in_time)
    keys = _own_keys(sample) if all(sample.keys) else [_named(row, key) for row in rows]
    known = [at for at in times if at >= 0]
    gaps = _gaps(list(zip(keys, metrics, strict=True)), times)
    numeric, categorical, ignored = _all_features(sample, _without(rest, *key.fields), metric, value)
    return Inferred(
        rows=sample,
        seen=fields,
        shape="wide" if metric is None else "long",
        key=key,
        streams=len({key for key in keys if key}) or 1,
        time=time,
        first=min(known, default=-1),
        last=max(known, default=-1),
        cadence_seconds=float(np.median(np.concatenate(gaps))) if gaps else None,
        numeric=seen_to_rise(numeric, rows, keys, times, [metric.path, value.path] if metric and value else []),
        categorical=categorical,
        metric=metric,
        value=value,
        ignored=ignored if counter is None else ignored | {counter.path: "it counts up: see stream.time"},
        together=in_time.together(in_time.codes(key.fields)) if time else 1.0,
        tells_apart=tells_apart,
        counter=counter,
        day_and_clock=day_and_clock(fields, time),
        timely=_timely(gaps),
    )


def _without(fields: Mapping[str, FieldSeen], *used: FieldSeen | None) -> dict[str, FieldSeen]:
    return {path: field for path, field in fields.items() if not any(field is one for one in used)}


def _own_keys(sample: SampleRows) -> list[str]:
    """Return the records' own keys if every record has one, else empty texts."""
    return list(sample.keys) if all(sample.keys) else [""] * len(sample.rows)


def _in_time(sample: SampleRows, times: list[int], metrics: Sequence[str]) -> InTime:
    return InTime(sample.rows, times, list(map("\0".join, zip(_own_keys(sample), metrics, strict=True))))


def _keys(sample: SampleRows, fields: Mapping[str, FieldSeen], in_time: InTime) -> tuple[Key, Key]:
    """Return the key, and, if records have keys of their own, the fields that tell apart those that share times."""
    found = key_of(fields, len(sample.rows), in_time)
    if not all(sample.keys):
        return found, Key()
    return Key(), found if in_time.shared(in_time.codes(found.fields)) <= SHARED else Key()


def _all_features(
    sample: SampleRows, fields: Mapping[str, FieldSeen], metric: FieldSeen | None, value: FieldSeen | None
) -> Features:
    same = _repeats_of_key(sample, fields) if all(sample.keys) else set()
    in_series = _of_series(sample, fields)
    rest = {path: field for path, field in fields.items() if path not in same | in_series}
    if metric is not None and value is not None:
        numeric, categorical, ignored = _metrics(sample.rows, metric, value, rest)
        if sample.format in ("otlp_json", "otlp_proto"):
            counters = {row[metric.path] for row in sample.rows if row.get("counter") is True}
            numeric = tuple(replace(field, declared=field.path in counters) for field in numeric)
    else:
        numeric, categorical, ignored = _features(rest, len(sample.rows))
    ignored |= dict.fromkeys(same, "the same as the record's key") | dict.fromkeys(in_series, "part of the series")
    return numeric, categorical, ignored | dict(sample.lost)


def _of_series(sample: SampleRows, fields: Mapping[str, FieldSeen]) -> set[str]:
    """Return the fields of Influx lines that cannot vary within a stream, if the series names the stream."""
    if sample.format != "influx" or SERIES in fields:
        return set()
    return {path for path in fields if path == "name" or path.startswith("tags.")}


def _named(row: Row, key: Key) -> str:
    """Return the name of the row's stream; "" if a part of it is missing."""
    texts = [text_of(row.get(field.path)) or "" for field in key.fields]
    return "/".join(texts) if all(texts) else ""


def _ticks(rows: Sequence[Row], counter: FieldSeen | None) -> list[int]:
    """Return the values of a field that counts up, as times in microseconds since its lowest value. Records can be told
    apart by them as by times. [] if the numbers cannot be used like that."""
    if counter is None or len(counter.numbers) != len(rows):
        return []
    low, high = counter.range()
    return [int((number - low) * 1_000_000) for number in counter.numbers] if high - low < 1e12 else []


def _repeats_of_key(sample: SampleRows, paths: Iterable[str]) -> set[str]:
    """Return the fields that hold, in every row, the same text as the record's key."""
    pairs = list(zip(sample.rows, sample.keys, strict=True))
    return {path for path in paths if all(text_of(row.get(path)) == key for row, key in pairs)}


def _long(fields: Mapping[str, FieldSeen]) -> tuple[FieldSeen | None, FieldSeen | None]:
    """Return the fields of the metric's name and value, if there are both. The sample then has the long shape."""
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
    """Return why the field is not a feature, or None if it may be one."""
    if not field.values:
        return "always empty"
    if names_label(field.path):
        return "looks like a label: it would give the answer away"
    if row_number(field):
        return "the number of the row"
    if serial_days(field):
        return "times in days since 1900, as spreadsheets count them, cannot be read: write them as text"
    if field.whole and not (few and names_class(field.path)):
        numbered = names_key(field.path) or names_number(field.path)
        if numbered or (names_time(field.path) and time_unit(field)):
            return "looks like an identifier or a time, not a measurement"
    if field.textual and few and tells_time(field):
        return "looks like a time"
    if field.textual and clock(field):
        return "a time of day without the date"
    return numbers_in_words(field) if field.textual else None


def _gaps(keys: Sequence[tuple[str, str]], times: Sequence[int]) -> list[Floats]:
    """Return the seconds between successive records of each stream, an array per stream; records at the same time are
    not counted."""
    by_key: dict[tuple[str, str], list[int]] = defaultdict(list)
    for key, at in zip(keys, times, strict=False):
        if at >= 0:
            by_key[key].append(at)
    gaps = (np.diff(np.sort(np.array(found, np.float64) / 1e6)) for found in by_key.values())
    return [apart[apart > 0] for apart in gaps if (apart > 0).any()]


def _timely(gaps: Sequence[Floats]) -> bool | None:
    """Whether few gaps are much longer than their stream's usual one; None if there are too few to judge. In a stream
    of random arrivals, a quarter of the gaps is longer than twice the median."""
    several = [apart for apart in gaps if len(apart) >= SEVERAL_GAPS]
    if len(several) < SEVERAL_STREAMS:
        return None
    long = np.concatenate([apart > 2 * np.median(apart) for apart in several])
    return bool(long.mean() < UNTIMELY)
