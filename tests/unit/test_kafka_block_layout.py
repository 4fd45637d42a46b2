"""Records in blocks are the client's own records, for all codecs, start offsets and sizes of polls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from anomaly_daemon.transport.kafka import blocks, record_parser
from anomaly_daemon.transport.kafka.blocks import FEW_RECORDS, BlockRecords
from anomaly_daemon.transport.kafka.columns import microseconds, record_batch
from anomaly_daemon.transport.kafka.header_names import let_pass
from anomaly_daemon.transport.ports import Partition, RecordBatch

NAME = TopicPartition("readings", 0)
NONE, GZIP = 0, 1

texts = st.none() | st.binary(max_size=6) | st.sampled_from([b"", b"x" * 63, b"x" * 64, b"x" * 9000])
times = st.sampled_from([0, -1, 1, 1_700_000_000_000, 1_700_000_000_064, 2**62])
plain = st.tuples(times, texts, texts, st.just(()))
headed = st.tuples(times, texts, texts, st.just((("name", b"value"), ("empty", None))))
written = st.lists(plain, max_size=80) | st.lists(plain | headed, max_size=80)
batches = st.lists(st.tuples(st.integers(0, 200), written, st.sampled_from([NONE, GZIP])), min_size=1, max_size=3)


def fetched(of: list[tuple[int, list[Any], int]]) -> bytes:
    """Return batches as a broker sends them; before each, `gap` offsets are missing, as after compaction."""
    body, offset = b"", 0
    for gap, records, codec in of:
        builder = MemoryRecordsBuilder(2, codec, 2**30, offset=offset + gap)
        for time, key, value, headers in records:
            builder.append(time, key, value, list(headers))
        offset += gap + len(records)
        if records:
            builder.close()
            body += bytes(builder.buffer())
    return body


def polled(kind: Any, body: bytes, start: int, most: int) -> tuple[list[Any], list[int]]:
    """Return everything that polls of `most` records give, and the position after each poll."""
    of = kind(start, NAME, MemoryRecords(body))
    found, positions = [], []
    while of:
        some = of.take(most)
        found += [list(some)] if len(some) else []
        positions.append(of.next_fetch_offset)
    return found, positions


def rows(batch: RecordBatch) -> list[Any]:
    return list(
        zip(batch.offsets.tolist(), batch.timestamps.tolist(), batch.keys, batch.values, batch.headers, strict=True)
    )


@given(batches, st.integers(0, 120), st.sampled_from([1, 7, 50, 10_000]))
def test_blocks_hold_the_same_records_as_the_client_gives_one_by_one(
    of: list[tuple[int, list[Any], int]], start: int, most: int
) -> None:
    body, partition = fetched(of), Partition(*NAME)
    one_by_one, positions = polled(Fetcher.PartitionRecords, body, start, most)
    in_blocks, also = polled(BlockRecords, body, start, most)
    assert [rows(blocks.joined(partition, each, 0)) for each in in_blocks] == [
        rows(record_batch(partition, each, 0)) for each in one_by_one
    ]
    assert also == positions


def many(value: bytes = b"reading") -> bytes:
    return fetched([(0, [(1_700_000_000_000, b"k", value, ())] * (2 * FEW_RECORDS), NONE)])


def test_a_batch_of_many_records_is_read_without_the_client_reading_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "block_of", lambda _: pytest.fail("read one by one"))
    ((block,),), _ = polled(BlockRecords, many(), 0, 10_000)
    assert block.values == [b"reading"] * (2 * FEW_RECORDS)


def test_a_damaged_batch_is_refused_as_the_client_refuses_it() -> None:
    body = bytearray(many())
    body[-9] ^= 1
    with pytest.raises(CorruptRecordError, match="failed crc check"):
        polled(BlockRecords, bytes(body), 0, 10_000)


@given(st.binary(max_size=300), st.integers(0, 40))
def test_bytes_that_are_no_records_are_not_taken_for_any(body: bytes, count: int) -> None:
    fields = record_parser.parse(body, count)
    assert fields is None or len(fields.keys) == len(fields.values) == count


@pytest.mark.parametrize("count", [-1, 0, 5, 2**31 - 1, 2**45])
def test_no_room_is_made_for_more_records_than_there_can_be(count: int) -> None:
    assert record_parser.parse(bytes(4), count) is None


@pytest.mark.parametrize("length", [2**63 - 1, 2**63 - 2, 2**62, -(2**63)])
def test_a_length_that_reaches_around_is_no_record(length: int) -> None:
    zigzag, octets = (length << 1 ^ length >> 63) & (2**64 - 1), bytearray()
    while zigzag > 0x7F:
        octets.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    assert record_parser.parse(bytes([*octets, zigzag]) + bytes(7), 1) is None


@given(st.data())
def test_a_bent_body_is_read_as_the_client_reads_it_or_not_at_all(data: Any) -> None:
    whole = many(b"v" * 70)
    body = bytearray(whole[61:])
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    fields = record_parser.parse(bytes(body), 2 * FEW_RECORDS)
    if fields is not None:
        found, _ = polled(_unchecked, whole[:61] + bytes(body), 0, 10_000)
        assert [(record.key, record.value) for record in found[0]] == list(zip(fields.keys, fields.values, strict=True))


def _unchecked(*arguments: Any) -> Any:
    return Fetcher.PartitionRecords(*arguments, check_crcs=False)


def test_with_a_version_nobody_has_looked_at_the_client_gives_its_own_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks.kafka, "__version__", "3.1.0")
    consumer = type(
        "Consumer", (), {"_fetcher": type("Fetcher", (), {"PartitionRecords": Fetcher.PartitionRecords})()}
    )()
    assert not blocks.read_in_blocks(consumer)
    assert consumer._fetcher.PartitionRecords is Fetcher.PartitionRecords


class Odd(str):
    """A name that a producer writes with bytes of its own."""

    def encode(self, *_: Any) -> bytes:
        return b"na\xff\xfeme"


@pytest.mark.parametrize("codec", [NONE, GZIP])
@pytest.mark.parametrize("kind", [Fetcher.PartitionRecords, BlockRecords])
def test_a_headers_name_that_is_not_utf_8_ends_nobody(kind: Any, codec: int) -> None:
    let_pass()
    let_pass()
    plain = [(1_700_000_000_000, b"k", b"%d" % number, ()) for number in range(50)]
    odd = (1_700_000_000_000, b"k", b"odd", ((Odd("name"), b"\xff"), ("next", b"v")))
    records = [*plain[:25], odd, *plain[25:]]
    found, _ = polled(kind, fetched([(0, records, codec), (0, plain, codec)]), 0, 1000)
    if kind is BlockRecords:
        batch = blocks.joined(Partition(*NAME), found[0], 101)
    else:
        batch = record_batch(Partition(*NAME), found[0], 101)
    assert batch.values == [value for _, _, value, _ in [*records, *plain]]
    assert batch.headers[25] == (("na\ufffd\ufffdme", b"\xff"), ("next", b"v"))
    assert not any(batch.headers[:25])


def test_a_timestamp_past_64_bits_of_microseconds_is_the_largest() -> None:
    """A producer may give nanoseconds where the protocol has milliseconds; the number must not wrap to another time."""
    most = (2**63 - 1) // 1000
    given = np.array([-1, 0, 1_700_000_000_000, most, most + 1, 1_740_787_200_000_000_000])
    assert microseconds(given).tolist() == [-1, 0, 1_700_000_000_000_000, *[most * 1000] * 3]
