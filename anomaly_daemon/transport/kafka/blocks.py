"""Reads records from kafka-python's consumer as columns, one block per record batch, instead of one object per record.

The client's `poll` creates two objects for each record, which is most of the cost of reading. No public setting avoids
them. However, the fetcher looks up the class that unpacks fetched data (`PartitionRecords`) at run time, and that class
reads record batches from an iterator. `read_in_blocks` sets a class whose iterator gives batches that look like
batches of a single record. The value of that record is the block of all records in the batch, and its offset is that of
the last one. Everything else is left to the client: checksums, control batches, aborted transactions, positions.

These interfaces of the client are private. With a version that has not been examined (`KNOWN_VERSIONS`), `poll` returns
single records as usual. A test compares both ways of reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import kafka
import numpy as np
from kafka.consumer.fetcher import Fetcher

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.kafka.columns import microseconds
from anomaly_daemon.transport.kafka.record_parser import parse, warm
from anomaly_daemon.transport.ports import Headers, Partition, RecordBatch

KNOWN_VERSIONS = ("3.0.12",)

FEW_RECORDS = 40
"""Batches with fewer records than this are read one by one, because parsing all records at once costs more there."""

MAGIC = 2
"""The record format since Kafka 0.11. Batches of older formats are read record by record."""


class Block(NamedTuple):
    """The records of one batch, in order. Timestamps are as the client gives them: epoch milliseconds, negative where
    there is none."""

    offsets: Int64
    timestamps: Int64
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]

    def part(self, rows: slice) -> Block:
        return Block(self.offsets[rows], self.timestamps[rows], self.keys[rows], self.values[rows], self.headers[rows])


def read_in_blocks(consumer: Any) -> bool:
    """Make this consumer's `poll` return blocks instead of records. Returns False, and changes nothing, where the
    installed version of kafka-python is not one of `KNOWN_VERSIONS`."""
    if kafka.__version__ not in KNOWN_VERSIONS:
        return False
    warm()
    consumer._fetcher.PartitionRecords = BlockRecords
    return True


def joined(partition: Partition, blocks: Sequence[Block], next_offset: int) -> RecordBatch:
    """Return the blocks of one partition as one `RecordBatch`. Milliseconds become microseconds, and a missing
    timestamp is -1."""
    timestamps = np.concatenate([block.timestamps for block in blocks])
    return RecordBatch(
        partition,
        np.concatenate([block.offsets for block in blocks]),
        microseconds(timestamps),
        list(chain.from_iterable(block.keys for block in blocks)),
        list(chain.from_iterable(block.values for block in blocks)),
        list(chain.from_iterable(block.headers for block in blocks)),
        next_offset,
    )


def block_of(records: Sequence[Any]) -> Block:
    """Return records of the client as a block, read one by one."""
    return Block(
        np.fromiter((record.offset for record in records), np.int64, len(records)),
        np.fromiter((record.timestamp for record in records), np.int64, len(records)),
        [record.key for record in records],
        [record.value for record in records],
        [tuple((name, value or b"") for name, value in record.headers or ()) for record in records],
    )


class BlockList:
    """The blocks of one partition in one poll. Its length is the number of records, because the fetcher compares it
    with `max_poll_records`."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks

    def __len__(self) -> int:
        return sum(len(block.offsets) for block in self._blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)


class BlockRecords(Fetcher.PartitionRecords):  # type: ignore[misc] # kafka-python has no types
    """The records that were fetched for one partition, given out as blocks."""

    def __init__(self, fetch_offset: int, tp: Any, records: Any, **more: Any) -> None:
        super().__init__(fetch_offset, tp, _Batches(records, fetch_offset), **more)
        self._rest: Block | None = None

    def take(self, n: int | None = None) -> BlockList:
        """Return blocks of at most `n` records together. The rest of a block that had to be split is returned by the
        next call."""
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
            self._next_inline_exception = error  # raised by the next call, as in the client
        return BlockList(blocks)

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
    """The client's record batches, each wrapped to look like a batch of one record. Control batches stay unchanged."""

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
    """A record batch that gives all its records as one `_Record`."""

    def __init__(self, batch: Any, fetch_offset: int) -> None:
        self._batch, self._fetch_offset = batch, fetch_offset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Record]:
        block, sound = _parsed(self._batch), True
        if block is None:
            records = list(self._batch)
            block, sound = block_of(records), all(record.validate_crc() for record in records)
        first = int(np.searchsorted(block.offsets, self._fetch_offset))  # the fetch offset may lie inside the batch
        if first < len(block.offsets):
            yield _Record(self._batch, block.part(slice(first, None)), sound)


class _Record:
    """A block with the attributes that the client reads from a record."""

    key, headers, checksum = None, (), None

    def __init__(self, batch: Any, block: Block, sound: bool) -> None:
        self.value, self.offset = block, int(block.offsets[-1])
        self.timestamp, self.timestamp_type = int(block.timestamps[-1]), batch.timestamp_type
        self.size_in_bytes, self._sound = batch.size_in_bytes, sound

    def validate_crc(self) -> bool:
        """Return whether the checksums of all records match. Only records of formats before 2 have a checksum of their
        own."""
        return self._sound


def _parsed(batch: Any) -> Block | None:
    """Return all records of the batch, parsed at once, or None where they have to be read one by one."""
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
