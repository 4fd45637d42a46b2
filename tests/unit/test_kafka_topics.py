"""The brokers of a cluster learn of a new topic one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import Any

import pytest
from kafka import TopicPartition

from anomaly_daemon.errors import UsageError
from anomaly_daemon.transport.kafka.checks import size_doubt
from anomaly_daemon.transport.kafka.inspect import _places
from anomaly_daemon.transport.kafka.topics import Topic, clock_doubt, compaction_doubt, describe_created, snapshot_fault

NEW = "just-created"


class Cluster:
    """Stands for an admin client that asks each broker in turn. Each broker knows the topic from its n-th question on."""

    def __init__(self, *hears: int, unknown: int = 3) -> None:
        self._turn, self._asked, self._hears = cycle(range(len(hears))), [0] * len(hears), hears
        self._unknown = unknown  # UNKNOWN_TOPIC_OR_PARTITION

    def describe_topics(self, names: Iterable[str]) -> list[dict[str, Any]]:
        broker = next(self._turn)
        self._asked[broker] += 1
        error = 0 if self._asked[broker] >= self._hears[broker] else self._unknown
        return [{"name": name, "error_code": error, "partitions": [{}] * 3} for name in names]

    def describe_configs(self, resources: Iterable[Any], config_filter: str) -> dict[str, Any]:
        return {"topic": {one.name: {"cleanup.policy": {"value": "compact"}} for one in resources}}


def test_a_topic_that_one_broker_does_not_know_yet_is_asked_for_again() -> None:
    found = describe_created(Cluster(3, 4, 2), [NEW])[NEW]
    assert (found.exists, found.partitions, found.compacted) == (True, 3, True)


def test_a_topic_that_no_broker_ever_knows_is_told_of_as_missing() -> None:
    assert not describe_created(Cluster(1_000_000), [NEW], seconds=0.25)[NEW].exists


def test_a_topic_that_this_user_may_not_see_is_not_waited_for() -> None:
    forbidden = 29  # TOPIC_AUTHORIZATION_FAILED
    found = describe_created(Cluster(2, unknown=forbidden), [NEW])[NEW]  # a second question would be answered
    assert (found.exists, found.visible) == (False, False)


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"cleanup.policy": "compact", "retention.ms": "604800000"}, None),
        ({"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1"}, None),
        ({"cleanup.policy": "compact,delete", "retention.ms": "604800000"}, "deletes old records too"),
        (
            {"cleanup.policy": "delete,compact", "retention.ms": "-1", "retention.bytes": "1000"},
            "deletes old records too",
        ),
        ({"cleanup.policy": "delete", "retention.ms": "-1"}, "is not compacted"),
        ({}, None),
    ],
)
def test_state_of_streams_that_rest_is_never_deleted_for_its_age(config: dict[str, str], fault: str | None) -> None:
    said = snapshot_fault(Topic("state", True, 3, config=config), Topic("input", True, 3))
    assert said is None if fault is None else said is not None and fault in said


FOREVER = str(2**63 - 1)
AFTER, DIFFERENCE = "message.timestamp.after.max.ms", "message.timestamp.difference.max.ms"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"message.timestamp.type": "CreateTime"}, "by any amount"),
        ({"message.timestamp.type": "CreateTime", AFTER: FOREVER, DIFFERENCE: FOREVER}, "by any amount"),
        ({"message.timestamp.type": "CreateTime", AFTER: "86400001"}, "by up to 86400 s"),
        ({"message.timestamp.type": "CreateTime", AFTER: "86400000"}, None),
        ({"message.timestamp.type": "CreateTime", DIFFERENCE: "3600000"}, None),
        ({"message.timestamp.type": "CreateTime", AFTER: FOREVER, DIFFERENCE: "3600000"}, None),
        ({"message.timestamp.type": "LogAppendTime", AFTER: FOREVER}, None),
        ({}, None),
    ],
)
def test_a_producers_clock_that_nothing_bounds_is_told_of(config: dict[str, str], told: str | None) -> None:
    said = clock_doubt(Topic("input", True, 3, config=config), 86_400.0)
    assert said is None if told is None else said is not None and told in said and f"{AFTER} to 86400000" in said


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"cleanup.policy": "compact"}, True),
        ({"cleanup.policy": "compact,delete"}, True),
        ({"cleanup.policy": "delete"}, False),
        ({}, False),
    ],
)
def test_an_input_that_is_compacted_is_told_of(config: dict[str, str], told: bool) -> None:
    said = compaction_doubt(Topic("input", True, 3, config=config))
    assert (said is not None) == told
    assert said is None or ("'input' is compacted" in said and "cleanup.policy to delete" in said)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"cleanup.policy": "delete", "retention.bytes": "1000000"}, True),
        ({"cleanup.policy": "compact,delete", "retention.bytes": "1000000"}, True),
        ({"cleanup.policy": "delete", "retention.bytes": "-1"}, False),
        ({"cleanup.policy": "compact", "retention.bytes": "1000000"}, False),
        ({"cleanup.policy": "delete"}, False),
        ({}, False),
    ],
)
def test_an_input_that_is_bounded_by_its_size_is_told_of_with_what_its_bytes_must_last_for(
    config: dict[str, str], told: bool
) -> None:
    said = size_doubt(Topic("input", True, 3, config=config), 300.0)
    assert (said is not None) == told
    assert said is None or ("keeps 1000000 bytes" in said and "within 300 s and your longest outage" in said)


class Asked:
    """A reader that keeps the times which it is asked for, and has no record at any of them."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, None]:
        self.times += times.values()
        return dict.fromkeys(times)


@pytest.mark.parametrize("place", ["1960-01-01", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z"])
def test_a_range_may_begin_before_1970(place: str) -> None:
    """Kafka's client refuses negative times with a ValueError, which would end a worker of retraining."""
    reader, name = Asked(), TopicPartition("readings", 0)
    assert _places(reader, [name], place, {}, {name: 7}) == {name: 7}
    assert reader.times == [0]


def test_digits_that_are_no_number_are_no_place() -> None:
    with pytest.raises(UsageError):
        _places(Asked(), [TopicPartition("readings", 0)], "\N{SUPERSCRIPT TWO}", {}, {})
