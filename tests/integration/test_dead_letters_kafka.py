"""`dead-letters` over a topic of Apache Kafka."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anomaly_daemon.cli import main
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.transport.dead_letters import dead_letter
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Partition, RecordBatch

pytestmark = pytest.mark.kafka


@pytest.fixture
def asked(kafka_broker: Any) -> list[str]:
    """The arguments that name a dead-letter topic of two partitions. The newest dead letter is in the first partition."""
    import numpy as np
    from kafka import KafkaProducer

    topic = kafka_broker.topic("dead", 2)
    numbers = np.arange(5)
    values = [b"bad %d" % number for number in numbers]
    batch = RecordBatch(Partition("readings", 3), numbers, numbers, [b"pump"] * 5, values, [()] * 5, 5)
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    for row, partition in enumerate((0, 0, 1, 1, 0)):
        letter = dead_letter(batch, row, "bad_time" if row % 2 else "malformed", "no", "decode")
        at = 1_700_000_000_000 + row
        producer.send(topic, letter.value, letter.key, list(letter.headers), partition, timestamp_ms=at)
    producer.send(topic, b"not ours", partition=1, timestamp_ms=1_700_000_000_009)
    producer.flush()
    producer.close()
    settings = [f"kafka.bootstrap_servers={kafka_broker.bootstrap}", "source.topic=readings", 'stream.key=["pump"]']
    settings += ["stream.time=time", 'stream.numeric=["level"]', f"sink.dead_letter_topic={topic}"]
    return [word for one in settings for word in ("--set", one)]


def test_the_newest_of_all_partitions_are_shown_with_where_they_came_from(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dead-letters", *asked, "--limit", "2"]) == ExitCode.OK
    told = capsys.readouterr()
    assert told.out.splitlines()[:4] == [
        "bad_time  readings/3/3  key pump  decode: no",
        "    bad 3",
        "malformed  readings/3/4  key pump  decode: no",
        "    bad 4",
    ]
    assert told.out.splitlines()[-1].endswith("5 dead letters: 3 malformed, 2 bad_time; the newest 2 are shown")
    assert told.err.splitlines() == [
        "anomaly-daemon: skipped: not a dead letter of this program: it has no header dead_letter_reason"
    ]


def test_scripts_get_all_of_a_reason(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", *asked, "--reason", "bad_time", "--json"]) == ExitCode.OK
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["offset"] for one in told) == ["1", "3"]
    assert {one["timestamp"] for one in told} == {"1", "3"}


def test_a_topic_that_is_not_there_is_told(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", *asked, "--set", "sink.dead_letter_topic=nowhere"]) == ExitCode.CONFIGURATION
    assert "'nowhere' does not exist" in capsys.readouterr().err
