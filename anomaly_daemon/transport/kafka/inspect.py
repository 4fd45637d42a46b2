"""Reads topics for people and for training: a sample, a range or the tail. Joins no group and commits nothing."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from anomaly_daemon.errors import Incompatible, Unavailable, UsageError
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.columns import record_batch
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments, milliseconds
from anomaly_daemon.transport.kafka.failures import named
from anomaly_daemon.transport.ports import Headers, Partition, RecordBatch

POLL_SECONDS = 0.5
STALLED_SECONDS = 60.0
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)

Place = int | str | None
"""Where a range begins or ends: an offset, an ISO 8601 time (UTC where it names no zone), or None for the partition's
very beginning or end."""


def sample_topic(kafka: KafkaSettings, topic: str, n: int) -> list[RecordBatch]:
    """Return about the last `n` records of the topic, at least one from each partition that has any."""
    with closing(_reader(kafka)) as reader, named(f"sampling {topic}"):
        names = _partitions(reader, topic)
        begin, end = reader.beginning_offsets(names), reader.end_offsets(names)
        share = -(-n // len(names))
        start = {name: max(begin[name], end[name] - share) for name in names}
        return list(_read(reader, start, end))


def read_range(
    kafka: KafkaSettings,
    topic: str,
    start: Place,
    end: Place,
    expect: Callable[[int], None] = lambda offsets: None,
) -> Iterator[RecordBatch]:
    """Yield the records from `start` up to, not including, `end`, of every partition. None stands for its beginning, or
    for its present end. `expect` is called first with the number of offsets in the range, which is no less than the
    number of records.

    A time is compared with the records' own timestamps. Records that retention removes meanwhile are passed over.
    Raises UsageError for a place that is neither an offset nor a time, Incompatible when the topic does not exist,
    Unavailable when the broker falls silent.
    """
    with closing(_reader(kafka)) as reader, named(f"reading {topic}"):
        names = _partitions(reader, topic)
        first, last = reader.beginning_offsets(names), reader.end_offsets(names)
        begin = _places(reader, names, start, first, last)
        stop = _places(reader, names, end, last, last)
        begin = {name: max(begin[name], first[name]) for name in names}
        stop = {name: min(stop[name], last[name]) for name in names}
        expect(sum(max(0, stop[name] - begin[name]) for name in names))
        yield from _read(reader, begin, stop)


def oldest(kafka: KafkaSettings, partition: Partition) -> int:
    """Return the oldest offset that still exists. Raises Incompatible when there is no such partition."""
    with closing(_reader(kafka, strict=True)) as reader, named(f"looking at {partition.topic}"):
        return int(reader.beginning_offsets([_partition(reader, partition)])[TopicPartition(*partition)])


def read_partition(kafka: KafkaSettings, partition: Partition, start: int, end: int) -> Iterator[RecordBatch]:
    """Yield the records from offset `start` up to, not including, `end`, or up to the partition's present end."""
    with closing(_reader(kafka, strict=True)) as reader, named(f"reading {partition.topic}"):
        name = _partition(reader, partition)
        last = reader.end_offsets([name])[name]
        yield from _read(reader, {name: start}, {name: min(end, last)})


def tail(
    kafka: KafkaSettings, topic: str, from_beginning: bool, follow: bool = True
) -> Iterator[tuple[Partition, int, bytes | None, bytes | None, Headers]]:
    """Yield partition, offset, key, value and headers of each record, from the beginning or from the present end on.
    With `follow` this never ends; without it, it stops at the present end."""
    with closing(_reader(kafka)) as reader, named(f"reading {topic}"):
        names = _partitions(reader, topic)
        end = reader.end_offsets(names)
        start = reader.beginning_offsets(names) if from_beginning else end
        for batch in _follow(reader, start) if follow else _read(reader, start, end):
            rows = zip(batch.offsets.tolist(), batch.keys, batch.values, batch.headers, strict=True)
            for offset, key, value, headers in rows:
                yield batch.partition, offset, key, value, headers


def _reader(kafka: KafkaSettings, *, strict: bool = False) -> Any:
    """Return a consumer. `strict`: it raises an error where records that it is about to read have been removed, and does
    not go on with the first that is left."""
    removed = {} if strict else {"auto_offset_reset": "earliest"}
    return connect(kafka, KafkaConsumer, **consumer_arguments(kafka) | removed)


def _partitions(reader: Any, topic: str) -> list[TopicPartition]:
    numbers = reader.partitions_for_topic(topic)
    if not numbers:
        near = difflib.get_close_matches(topic, reader.topics(), n=1, cutoff=0.8)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise Incompatible(f"topic {topic!r} does not exist, or this user may not describe it{advice}")
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def _partition(reader: Any, partition: Partition) -> TopicPartition:
    name = TopicPartition(*partition)
    if name not in _partitions(reader, partition.topic):
        raise Incompatible(f"topic {partition.topic!r} has no partition {partition.partition}")
    return name


def _places(
    reader: Any,
    names: list[TopicPartition],
    place: Place,
    unset: Mapping[TopicPartition, int],
    last: Mapping[TopicPartition, int],
) -> Mapping[TopicPartition, int]:
    if place is None:
        return unset
    if isinstance(place, int) or place.isdecimal():
        return {name: int(place) for name in names}
    found = reader.offsets_for_times({name: _epoch_milliseconds(place) for name in names})
    return {name: last[name] if found[name] is None else found[name].offset for name in names}


def _epoch_milliseconds(text: str) -> int:
    """Return the first millisecond that is not before this time; 0 for a time before 1970, where no record can be."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is neither an offset nor an ISO 8601 time such as 2025-03-01T00:00:00Z") from error
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH
    return max(0, -(-since // MILLISECOND))  # rounded up: a record in the millisecond before is older than this time


def _read(reader: Any, start: Mapping[TopicPartition, int], end: Mapping[TopicPartition, int]) -> Iterator[RecordBatch]:
    """Yield the records from `start` to `end`. The position decides where a partition ends, because transaction markers
    take offsets that never appear as records."""
    unfinished = {name for name in start if start[name] < end[name]}
    _begin(reader, start, unfinished)
    idle = 0.0
    while unfinished:
        batches = _poll(reader)
        idle = 0.0 if batches else idle + POLL_SECONDS
        for name, batch in batches.items():
            yield batch.below(end[name])
        positions = {name: reader.position(name, timeout_ms=0) for name in unfinished}
        done = {name for name, position in positions.items() if position is not None and position >= end[name]}
        reader.pause(*done)
        unfinished -= done
        if idle > STALLED_SECONDS:
            raise Unavailable(f"no records for {STALLED_SECONDS:g} s, though {len(unfinished)} partitions have some")


def _follow(reader: Any, start: Mapping[TopicPartition, int]) -> Iterator[RecordBatch]:
    _begin(reader, start, set(start))
    while True:
        yield from _poll(reader).values()


def _begin(reader: Any, start: Mapping[TopicPartition, int], names: set[TopicPartition]) -> None:
    if names:
        reader.assign(sorted(names))
        for name in names:
            reader.seek(name, start[name])


def _poll(reader: Any) -> dict[TopicPartition, RecordBatch]:
    found = reader.poll(timeout_ms=milliseconds(POLL_SECONDS))
    return {
        name: record_batch(Partition(*name), records, int(reader.position(name, timeout_ms=0)))
        for name, records in found.items()
    }
