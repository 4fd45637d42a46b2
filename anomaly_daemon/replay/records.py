"""The input records of an episode: from the topic, without joining a group, or from the file they were read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from anomaly_daemon.errors import NotComparable
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.files import FilesSource
from anomaly_daemon.transport.opening import STDIN
from anomaly_daemon.transport.ports import Partition, RecordBatch


class Records(Protocol):
    """The records of one input partition."""

    @property
    def partition(self) -> Partition:
        """The partition as the alert names it."""

    def beginning(self) -> int:
        """Return the oldest offset that still exists."""

    def read(self, start: int, end: int) -> Iterator[RecordBatch]:
        """Yield the records from `start` up to, not including, `end`, or up to the last one there is."""


@dataclass(frozen=True, slots=True)
class TopicRecords:
    """A partition of `topic`, which may be a copy of the one the alert names."""

    settings: Settings
    partition: Partition
    topic: str

    def beginning(self) -> int:
        from anomaly_daemon.transport.kafka.inspect import oldest

        return oldest(self.settings.kafka, self._source)

    def read(self, start: int, end: int) -> Iterator[RecordBatch]:
        from anomaly_daemon.transport.kafka.inspect import read_partition

        for batch in read_partition(self.settings.kafka, self._source, start, end):
            yield replace(batch, partition=self.partition)

    @property
    def _source(self) -> Partition:
        return Partition(self.topic, self.partition.partition)


@dataclass(frozen=True, slots=True)
class FileRecords:
    """The file at `path`, which may be a copy of the one the alert names. Offsets are its line or row numbers."""

    settings: Settings
    partition: Partition
    path: str

    def beginning(self) -> int:
        return 0

    def read(self, start: int, end: int) -> Iterator[RecordBatch]:
        if self.path == STDIN:
            raise NotComparable("the records came from standard input and are gone: name a copy with --records FILE")
        source = FilesSource([self.path], self.settings.stream, limits=self.settings.limits)
        try:
            for batch in self._batches(source, start):
                part = batch.below(end)
                if len(part):
                    yield replace(part, partition=self.partition)
                if batch.next_offset >= end:
                    return
        finally:
            source.close()

    def _batches(self, source: FilesSource, start: int) -> Iterator[RecordBatch]:
        own = Partition(self.path, 0)
        source.subscribe(_Alone())
        source.seek(own, start)
        source.resume([own])
        while not source.exhausted():
            yield from source.poll(0.2)


class _Alone:
    """A rebalance listener that ignores all changes of the assignment."""

    def assigned(self, partitions: Iterable[Partition]) -> None: ...
    def revoked(self, partitions: Iterable[Partition]) -> None: ...
    def lost(self, partitions: Iterable[Partition]) -> None: ...
