"""Records of kafka-python's consumer as columns, one block per record batch, instead of one object per record.

Its `poll` makes two objects for each record, which is most of what reading costs. There is no public way around them, but
the fetcher looks the class up that unpacks what was fetched (`PartitionRecords`), and that class reads batches from an
iterator. So here the iterator gives batches that pass for batches of a single record, whose value is the block of all of
them, at the offset of the last. All the rest stays the client's: checksums, control batches, aborted transactions,
positions. It is private: with a version that was not looked at, `poll` gives its records as ever, and a test compares
both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import kafka
import numpy as np
from kafka.consumer.fetcher import Fetcher

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.kafka.record_parser import parse, warm
from anomaly_daemon.transport.ports import Headers, Partition, RecordBatch

KNOWN_VERSIONS = ("3.0.12",)

FEW_RECORDS = 40
"""In a smaller batch, looking at all records at once costs more than at one after the other."""

MAGIC = 2
"""The message format since Kafka 0.11; what is older is read one by one."""


class Block(NamedTuple):
    """Records of one batch, in order. Timestamps are the client's: epoch milliseconds, negative for none."""

    offsets: Int64
    timestamps: Int64
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]

    def part(self, rows: slice) -> Block:
        return Block(self.offsets[rows], self.timestamps[rows], self.keys[rows], self.values[rows], self.headers[rows])


def read_in_blocks(consumer: Any) -> bool:
    """Have this consumer's `poll` give blocks where it gives records. False where its version is not known: it does not."""
    if kafka.__version__ not in KNOWN_VERSIONS:
        return False
    warm()
    consumer._fetcher.PartitionRecords = BlockRecords
    return True


def joined(partition: Partition, blocks: Sequence[Block], next_offset: int) -> RecordBatch:
    """Blocks of one partition as a batch of ours; milliseconds become microseconds, "none" stays -1."""
    timestamps = np.concatenate([block.timestamps for block in blocks])
    return RecordBatch(
        partition,
        np.concatenate([block.offsets for block in blocks]),
        np.where(timestamps >= 0, timestamps * 1000, -1),
        list(chain.from_iterable(block.keys for block in blocks)),
        list(chain.from_iterable(block.values for block in blocks)),
        list(chain.from_iterable(block.headers for block in blocks)),
        next_offset,
    )


def block_of(records: Sequence[Any]) -> Block:
    """The client's records, one by one."""
    return Block(
        np.fromiter((record.offset for record in records), np.int64, len(records)),
        np.fromiter((record.timestamp for record in records), np.int64, len(records)),
        [record.key for record in records],
        [record.value for record in records],
        [tuple((name, value or b"") for name, value in record.headers or ()) for record in records],
    )


class Taken:
    """The blocks of one partition in a poll. The fetcher counts its length against `max_poll_records`: that is records."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks

    def __len__(self) -> int:
        return sum(len(block.offsets) for block in self._blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)


class BlockRecords(Fetcher.PartitionRecords):  # type: ignore[misc] # kafka-python has no types
    """What was fetched of one partition."""

    def __init__(self, fetch_offset: int, tp: Any, records: Any, **more: Any) -> None:
        super().__init__(fetch_offset, tp, _Batches(records, fetch_offset), **more)
        self._rest: Block | None = None

    def take(self, n: int | None = None) -> Taken:
        """At most `n` records; what is left of a block comes next."""
        self._maybe_raise_next_inline_exception()
        blocks: list[Block] = []
        left = float("inf") if n is None else n
        try:
            while left > 0 and (block := self._next()) is not None:
                if len(block.offsets) > left:
                    block, self._rest = block.part(slice(int(left))), block.part(slice(int(left), None))
                    self.next_fetch_offset = int(block.offsets[-1]) + 1
                blocks.append(block)
                left -= len(block.offsets)
        except Exception as error:
            if not blocks:
                raise
            self._next_inline_exception = error  # raised by the next call, as the client does
        return Taken(blocks)

    def _next(self) -> Block | None:
        block, self._rest = self._rest, None
        if block is not None:
            self.next_fetch_offset = int(block.offsets[-1]) + 1
            return block
        record = next(self.record_iterator, None)
        return None if record is None else record.value

    def drain(self) -> None:
        self._rest = None
        super().drain()


class _Batches:
    """The client's record batches, each as a batch of one record."""

    def __init__(self, records: Any, fetch_offset: int) -> None:
        self._records, self._fetch_offset = records, fetch_offset

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if batch is None or (batch.magic == MAGIC and batch.is_control_batch):
            return batch
        return _Batch(batch, self._fetch_offset)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


class _Batch:
    """One record batch, all of whose records are one."""

    def __init__(self, batch: Any, fetch_offset: int) -> None:
        self._batch, self._fetch_offset = batch, fetch_offset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Record]:
        block, sound = _parsed(self._batch), True
        if block is None:
            records = list(self._batch)
            block, sound = block_of(records), all(record.validate_crc() for record in records)
        first = int(np.searchsorted(block.offsets, self._fetch_offset))  # the position may stand within a batch
        if first < len(block.offsets):
            yield _Record(self._batch, block.part(slice(first, None)), sound)


class _Record:
    """A block, as the client looks at a record."""

    key, headers, checksum = None, (), None

    def __init__(self, batch: Any, block: Block, sound: bool) -> None:
        self.value, self.offset = block, int(block.offsets[-1])
        self.timestamp, self.timestamp_type = int(block.timestamps[-1]), batch.timestamp_type
        self.size_in_bytes, self._sound = batch.size_in_bytes, sound

    def validate_crc(self) -> bool:
        """Of formats before 2, where each record has a checksum of its own."""
        return self._sound


def _parsed(batch: Any) -> Block | None:
    """All at once; None where the records have to be read one by one."""
    if batch.magic != MAGIC or batch.records_count < FEW_RECORDS:
        return None
    batch._maybe_uncompress()
    fields = parse(bytes(memoryview(batch._buffer)[batch._pos :]), batch.records_count)
    if fields is None:
        return None
    count = batch.records_count
    appended = batch.timestamp_type == batch.LOG_APPEND_TIME
    timestamps = np.full(count, batch.max_timestamp) if appended else batch.first_timestamp + fields.timestamp_delta_N
    return Block(batch.base_offset + fields.offset_delta_N, timestamps, fields.keys, fields.values, [()] * count)
