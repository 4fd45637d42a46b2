"""Reading in blocks gives the same records as `poll`, on Apache Kafka, for all codecs, transactions and positions
within a batch."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.codec import has_lz4, has_snappy, has_zstd

from anomaly_daemon.transport.kafka.blocks import joined, read_in_blocks
from anomaly_daemon.transport.kafka.columns import record_batch
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Partition, RecordBatch

pytestmark = pytest.mark.kafka

CODECS = ["gzip", *(name for name, there in (("lz4", has_lz4), ("snappy", has_snappy), ("zstd", has_zstd)) if there())]


def produce(rig: Any, codec: str | None, outcome: str, first: int) -> None:
    """Produce a hundred records in a few batches, in a transaction that ends with `outcome` (commit or abort)."""
    settings = {"linger_ms": 200, "compression_type": codec, "transactional_id": f"{rig.group}-{first}"}
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap, **settings)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        for number in range(first, first + 100):
            key = None if number % 11 == 0 else b"key"
            value = None if key and number % 7 == 0 else b"%d" % number
            headers = [("trace", b"on")] if first % 300 == 0 and number % 50 == 0 else []
            producer.send(rig.input, value, key, headers, partition=0, timestamp_ms=1_700_000_000_000 + number)
        producer.flush()
        getattr(producer, f"{outcome}_transaction")()


def read(rig: Any, start: int, end: int, blocks: bool) -> tuple[list[Any], int]:
    """Return every record from `start` on, read in polls of at most 70 records, and the position after them."""
    name = TopicPartition(rig.input, 0)
    arguments = consumer_arguments(rig.kafka()) | {"max_poll_records": 70}
    rows: list[Any] = []
    with closing(connect(rig.kafka(), KafkaConsumer, **arguments)) as consumer:
        assert read_in_blocks(consumer) if blocks else True
        consumer.assign([name])
        consumer.seek(name, start)
        while (position := consumer.position(name)) < end:
            for records in consumer.poll(timeout_ms=500).values():
                batch = (joined if blocks else record_batch)(Partition(*name), records, 0)
                assert len(batch) <= 70
                rows += told(batch)
    return rows, position


def told(batch: RecordBatch) -> list[Any]:
    return list(
        zip(batch.offsets.tolist(), batch.timestamps.tolist(), batch.keys, batch.values, batch.headers, strict=True)
    )


def test_blocks_hold_what_poll_gives(rig: Any) -> None:
    for number, codec in enumerate([None, *CODECS, None]):
        produce(rig, codec, "abort" if number % 2 else "commit", 100 * number)
    name = TopicPartition(rig.input, 0)
    with closing(KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)) as consumer:
        end = consumer.end_offsets([name])[name]

    for start in (0, 1, 57, 99, 100, 101, 150, 203, 250, end - 1):
        assert read(rig, start, end, blocks=True) == read(rig, start, end, blocks=False), start
