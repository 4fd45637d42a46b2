"""The input of training: recorded files, or a range of a Kafka topic, decoded as in production."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.errors import NoInput, TooManyMalformed
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.files import FilesSource
from anomaly_daemon.transport.legible import Legible
from anomaly_daemon.transport.ports import Partition, RecordBatch


class _Ready:
    """A rebalance listener for files. Without a consumer group, every assigned partition is read from its start."""

    def __init__(self, source: FilesSource) -> None:
        self.source = source

    def assigned(self, partitions: Iterable[Partition]) -> None:
        self.source.resume(partitions)

    def revoked(self, partitions: Iterable[Partition]) -> None: ...

    def lost(self, partitions: Iterable[Partition]) -> None: ...


def from_files(settings: Settings, paths: Sequence[str]) -> Iterator[RecordBatch]:
    """Yield every record of these CSV, JSON lines or Parquet files, in order."""
    source = FilesSource(paths, settings.stream, limits=settings.limits)
    source.subscribe(_Ready(source))
    try:
        while not source.exhausted():
            yield from source.poll(settings.source.poll_seconds)
    finally:
        source.close()


def from_topic(
    settings: Settings,
    topic: str,
    start: int | str | None,
    end: int | str | None,
    expect: Callable[[int], None] = lambda offsets: None,
) -> Iterator[RecordBatch]:
    """Yield every record of every partition between two offsets or times; None stands for the topic's beginning or its
    present end. `expect` is called first, with the number of offsets in the range."""
    from anomaly_daemon.transport.kafka.inspect import read_range

    yield from read_range(settings.kafka, topic, start, end, expect)


def observations(settings: Settings, batches: Iterable[RecordBatch]) -> Iterator[Observations]:
    """Yield the observations decoded from these records. Raises TooManyMalformed at the end if most records could not
    be decoded, NoInput if there were no records."""
    decoder, legible = Decoder(settings.stream, settings.limits), Legible(settings.stream)
    records = 0
    for batch in batches:
        decoded = decoder.decode(batch)
        records += len(batch)
        for one in decoded.rejected:
            legible.refused(one.reason, one.detail)
        yield decoded.observations
    if not records:
        raise NoInput("there is no record to read: the files are empty, or nothing lies between --start and --end")
    if complaint := legible.complaint(records):
        raise TooManyMalformed(complaint)
