"""Writes the configuration that `init` suggests: YAML, with a comment at each guess about what was seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

from anomaly_daemon.settings import RegistrySettings
from anomaly_daemon.transport.sample import Inferred
from anomaly_daemon.transport.sample_fields import FieldSeen
from anomaly_daemon.transport.sample_missing import shown
from anomaly_daemon.transport.sample_notes import legible, notes
from anomaly_daemon.transport.sample_times import ZONES, tells_offset
from anomaly_daemon.transport.yaml_text import quoted

PAYMENTS = (
    "  # Each payment is judged separately, and by how fast the last ones came. An alarm is one payment.",
    "  # Cards pay at no regular times and often the same amount, so neither silence nor equal values mean anything.",
    "  evidence: [point, burst]",
    "  prediction_weight: 1.0",
    "  window_events: 1",
    "  episode: {close_after: 1, close_surprise: 5, accept_seconds: 2592000}",
    "  silence: {enabled: false}",
    "  stuck: {enabled: false}",
)
"""The detection settings of configs/transactions.yaml."""
PAYMENT_ALARMS = 0.05


def written(inferred: Inferred, source: list[str], origin: str) -> str:
    """Return the whole file. `source` are the lines of its source, sink and kafka sections; `origin` describes where
    the sample is from."""
    return "\n".join([*_head(inferred, origin), *source, *_stream(inferred), *_detection(inferred)]) + "\n"


def _head(inferred: Inferred, origin: str) -> Iterator[str]:
    yield f"# Written by `anomaly-daemon init` from {_comment(origin)}: {len(inferred.rows.rows)} records."
    if inferred.rows.unreadable:
        yield f"# {inferred.rows.unreadable} more records could not be read; the daemon would dead-letter them."
    yield "# These are guesses from a sample. Look at each, then: anomaly-daemon validate --config FILE"
    for note in notes(inferred):
        yield f"# Look at this first: {note}"
    yield ""


def _stream(inferred: Inferred) -> Iterator[str]:
    sample = inferred.rows
    yield "stream:"
    yield f"  format: {sample.format}"
    if sample.unnest is not None:
        yield f"  unnest: {quoted(sample.unnest)}  # each message holds a list of records"
    if sample.format == "csv" and (sample.columns or sample.delimiter != ","):
        yield "  csv:"
        yield f"    delimiter: {quoted(sample.delimiter)}"
        if sample.columns:
            yield f"    columns: [{', '.join(map(quoted, sample.columns))}]  # not in the sample: fill in their names"
    if sample.schemas is not None:
        yield f"  {sample.format}:"
        yield from _schemas(sample.schemas)
    if sample.decimal != ".":
        yield f"  decimal: {quoted(sample.decimal)}  # numbers are written with a comma"
    if inferred.quoted:
        yield f"  text_numbers: true  # numbers in quotes: {_comment(', '.join(inferred.quoted))}"
    yield f"  shape: {inferred.shape}"
    if inferred.metric and inferred.value:
        yield f"  metric: {quoted(inferred.metric.path)}"
        yield f"  value: {quoted(inferred.value.path)}"
    yield from _key_and_time(inferred)
    if inferred.payments:
        yield "  late: accept  # a payment that arrives after a later one is judged, too"
    yield from _features(inferred)


def _schemas(schemas: RegistrySettings) -> Iterator[str]:
    for key, value in schemas:
        if value is not None and key != "registry_password":
            yield f"    {key}: {quoted(str(value))}"
    if schemas.registry_password is not None and schemas.registry_password_file is None:
        yield "    registry_password: ${REGISTRY_PASSWORD}  # from the environment, or registry_password_file"


def _key_and_time(inferred: Inferred) -> Iterator[str]:
    if not inferred.key.fields:
        yield f"  key: []  # the record's own key (of a file: its name); seen: {_count(inferred.streams, 'stream')}"
    else:
        such = "; ".join(_examples(field) for field in inferred.key.fields)
        paths = ", ".join(quoted(field.path) for field in inferred.key.fields)
        seen = f"{_count(inferred.streams, 'stream')}, such as {such}; {inferred.key.why}"
        lacking = max(inferred.key.fields, key=lambda field: field.missing_share)
        dead = f"{_missing(lacking)}: dead letters" if lacking.missing_share else ""
        yield f"  key: [{paths}]  # seen: {seen}{dead}"
    if inferred.time is None:
        yield "  # time: no time field was found: the record's own timestamp is used (files have none: name a field)"
        if inferred.counter is not None:
            yield f"  # time: {quoted(inferred.counter.path)}  # it counts up"
            yield "  # time_unit: s"
        return
    yield f"  time: {quoted(inferred.time.field.path)}  # seen: {_moment(inferred.first)} to {_moment(inferred.last)}"
    yield f"  time_unit: {inferred.time.unit.value}"
    if inferred.time.form is not None:
        in_utc = "; read in stream.timezone, which must stay UTC" if inferred.time.form.endswith(ZONES) else ""
        yield f"  time_format: {quoted(inferred.time.form)}  # such as {_examples(inferred.time.field)}{in_utc}"
    if not tells_offset(inferred.time):
        yield "  # timezone: Europe/Berlin  # times have no offset and are read as UTC: name their zone if it is another"
    if inferred.cadence_seconds is not None:
        yield f"  # seen: a record of a stream about every {inferred.cadence_seconds:g} s"


def _features(inferred: Inferred) -> Iterator[str]:
    yield "  numeric:" if inferred.numeric else "  numeric: []"
    for field in inferred.numeric:
        options = ["transform: rate"] if field.counter else ["transform: log"] if field.heavy_tailed() else []
        options += ["direction: above"] if options == ["transform: log"] and inferred.payments else []
        if field.sentinels:
            options.append(f"missing_values: [{', '.join(map(shown, field.sentinels))}]")
        text = f"{{name: {', '.join([quoted(field.path), *options])}}}" if options else quoted(field.path)
        yield f"    - {text}  # seen: {_numbers(field)}"
    if inferred.categorical:
        yield "  categorical:"
        for field in inferred.categorical:
            yield f"    - {quoted(field.path)}  # seen: {_count(field.distinct, 'value')}, such as {_examples(field)}"
    for path, why in inferred.ignored.items():
        yield f"  # left out: {_comment(path)}: {legible(why)}"


def _detection(inferred: Inferred) -> Iterator[str]:
    yield ""
    yield "detection:"
    if inferred.payments:
        yield from PAYMENTS
    yield "  budget:"
    alarms = PAYMENT_ALARMS if inferred.payments else 1.0
    at_most = f"with {_count(inferred.streams, 'stream')}: about {inferred.streams * alarms:.0f} a day in all"
    yield f"    alarms_per_stream_per_day: {alarms}  # {at_most}"
    if inferred.payments:
        yield "limits:"
        yield "  idle_stream_seconds: 31536000  # a card unseen for a year is dropped, and starts from scratch"


def _numbers(field: FieldSeen) -> str:
    low, high = field.range()
    seen = "never a finite number" if math.isnan(low) else f"{low:.4g} … {high:.4g}"
    if low == high:
        seen += ", never another value"
    sentinels = f"; far from those {_sentinels(field)}: taken for missing" if field.sentinels else ""
    scale = ", heavy-tailed: judged on a logarithmic scale" if field.heavy_tailed() else ""
    if field.counter:
        scale = ", only rises: a counter, judged by its rate"
    return seen + sentinels + _missing(field) + scale


def _sentinels(field: FieldSeen) -> str:
    share = 1 - len(field.readings) / len(field.numbers)
    return " and ".join(map(shown, field.sentinels)) + (" in <1%" if share < 0.01 else f" in {share:.0%}")


def _missing(field: FieldSeen) -> str:
    share = field.missing_share
    return "" if share <= 0 else ", missing in <1%" if share < 0.01 else f", missing in {share:.0%}"


def _examples(field: FieldSeen) -> str:
    return ", ".join(_comment(text) for text in field.examples)


def _comment(text: str) -> str:
    """Return the text so that it stays within its comment, whatever the sample contains, and is at most 40 characters
    long."""
    shown = legible(text)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
