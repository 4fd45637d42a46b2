"""Samples, ranges and tails of topics, on Apache Kafka."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from anomaly_daemon.errors import Incompatible, UsageError
from anomaly_daemon.transport.kafka.inspect import read_range, sample_topic, tail
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = pytest.mark.kafka


@pytest.fixture
def filled(rigs: Any) -> Any:
    """A topic of two partitions with the records a0 to a4 and b0 to b2, whose record times are a minute apart."""
    from kafka import KafkaProducer

    rig = rigs(2)
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    for number, (letter, count) in enumerate((("a", 5), ("b", 3))):
        for place in range(count):
            at = 1_700_000_000_000 + place * 60_000
            producer.send(rig.input, f"{letter}{place}".encode(), b"k", partition=number, timestamp_ms=at)
    producer.flush()
    producer.close()
    return rig


def values(batches: Any) -> list[str]:
    return sorted(value.decode() for batch in batches for value in batch.values)


def test_a_sample_is_the_newest_of_each_partition(filled: Any) -> None:
    assert values(sample_topic(filled.kafka(), filled.input, 4)) == ["a3", "a4", "b1", "b2"]
    assert values(sample_topic(filled.kafka(), filled.input, 1)) == ["a4", "b2"]


def test_a_range_by_offsets_leaves_its_end_out(filled: Any) -> None:
    batches = list(read_range(filled.kafka(), filled.input, 1, 3))
    assert values(batches) == ["a1", "a2", "b1", "b2"]
    assert {batch.next_offset for batch in batches} == {3}


def test_a_range_without_ends_is_everything(filled: Any) -> None:
    assert len(values(read_range(filled.kafka(), filled.input, None, None))) == 8
    assert values(read_range(filled.kafka(), filled.input, "4", None)) == ["a4"]


@pytest.mark.parametrize("first", [290, 300])
def test_what_retention_removes_of_a_range_meanwhile_is_passed_over(rigs: Any, first: int) -> None:
    """Reading used to end with an error that called it a bug."""
    from kafka import KafkaAdminClient, TopicPartition

    rig = rigs()
    rig.produce(*(b"x" * 40_000 for _ in range(300)))
    batches = read_range(rig.kafka(), rig.input, None, None)
    begun = next(batches).next_offset
    assert begun < 100
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    admin.delete_records({TopicPartition(rig.input, 0): first})
    admin.close()
    offsets = [offset for batch in batches for offset in batch.offsets.tolist()]
    assert [offset for offset in offsets if offset >= 200] == list(range(first, 300))


def test_a_range_by_times_goes_by_the_records_own(filled: Any) -> None:
    start, end = (datetime.fromtimestamp(1_700_000_000 + 60 * place, UTC).isoformat() for place in (1, 4))
    assert values(read_range(filled.kafka(), filled.input, start, end)) == ["a1", "a2", "a3", "b1", "b2"]
    assert values(read_range(filled.kafka(), filled.input, start.replace("+00:00", ""), end))[0] == "a1"


def test_a_range_from_before_1970_is_everything(filled: Any) -> None:
    assert len(values(read_range(filled.kafka(), filled.input, "1960-01-01", None))) == 8
    assert values(read_range(filled.kafka(), filled.input, None, "1969-12-31T23:59:59.999Z")) == []


def test_a_range_begins_and_ends_within_a_millisecond(filled: Any) -> None:
    start, end = (datetime.fromtimestamp(1_700_000_000 + 60 * place, UTC).isoformat() for place in (1, 4))
    early = start.replace("+00:00", ".0005+00:00"), end.replace("+00:00", ".0005+00:00")
    assert values(read_range(filled.kafka(), filled.input, *early)) == ["a2", "a3", "a4", "b2"]


def test_places_and_topics_that_are_none_are_told(filled: Any) -> None:
    with pytest.raises(UsageError, match="neither an offset nor an ISO 8601 time"):
        list(read_range(filled.kafka(), filled.input, "yesterday", None))
    with pytest.raises(Incompatible, match="'nowhere' does not exist"):
        sample_topic(filled.kafka(), "nowhere", 3)


def test_a_tail_follows(filled: Any) -> None:
    following = tail(filled.kafka(), filled.input, from_beginning=True)
    first = list(itertools.islice(following, 8))
    assert {(partition.partition, offset) for partition, offset, *_ in first} == {
        *((0, offset) for offset in range(5)),
        *((1, offset) for offset in range(3)),
    }
    filled.produce(b"later", partition=1)
    assert next(following)[3] == b"later"
    following.close()


def test_a_tail_that_does_not_follow_ends(filled: Any) -> None:
    assert len(list(tail(filled.kafka(), filled.input, from_beginning=True, follow=False))) == 8
    assert list(tail(filled.kafka(), filled.input, from_beginning=False, follow=False)) == []


def test_an_empty_topic_has_no_sample(rig: Any) -> None:
    assert sample_topic(rig.kafka(), rig.input, 5) == []
