"""What `anomaly-daemon run` on Apache Kafka reports, and its exit code, when something does not fit; nothing may be
lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from daemon_process import Daemon, Deployment, expected, readings, wait_for
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

LINES = readings(["press", "oven"], 150, [60, 120])
Make = Callable[..., Deployment]


def configure(one: Deployment, topic: str, **config: str) -> None:
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        names = {name.replace("_", "."): value for name, value in config.items()}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=names)])


def delete(one: Deployment, topic: str) -> None:
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        admin.delete_topics([topic])


def running(one: Deployment, lines: int = 130) -> Daemon:
    """Start a daemon and return it when it has committed that many lines."""
    daemon = one.start()
    wait_for("it to be ready", daemon.ready)
    one.produce(LINES[:lines])
    wait_for("the first part to be committed", lambda: one.committed() == lines)
    return daemon


def ends_with(daemon: Daemon, code: int, *said: str) -> None:
    assert daemon.process.wait(timeout=90) == code
    last = daemon.log().splitlines()[-1]
    assert [text for text in said if text not in last] == []


def test_records_that_retention_took_from_a_running_reader_are_counted_and_it_goes_on(deployment: Make) -> None:
    """The reader is more than one fetch behind, so that the removed records have not been fetched yet."""
    one = deployment(1, "kafka.session_timeout_seconds=30")
    daemon = running(one)
    daemon.process.send_signal(signal.SIGSTOP)
    one.produce([line.replace(b"{", b'{"note": "' + b"x" * 40_000 + b'", ', 1) for line in LINES[130:230]])
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        admin.delete_records({TopicPartition(one.topic, 0): 225})
    daemon.process.send_signal(signal.SIGCONT)
    one.produce(LINES[230:])
    wait_for("all to be committed", lambda: one.committed() == len(LINES))
    metrics = daemon.get("/metrics")[1]
    lost = next(line for line in metrics.splitlines() if line.startswith("anomaly_daemon_records_lost_total "))
    assert 0.0 < float(lost.split()[1]) <= 225.0  # includes records that were to be replayed
    assert daemon.logged("retention removed records before they were read") is not None
    assert daemon.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("again", [LINES[:10], LINES + LINES])
def test_an_input_that_was_made_anew_is_refused_though_it_is_longer_by_then(
    deployment: Make, again: list[bytes]
) -> None:
    one = deployment()
    assert running(one).end(signal.SIGTERM) == 0
    delete(one, one.topic)
    wait_for("the topic to be gone", lambda: one.topic not in topics(one))
    one.create_topic()
    one.produce(again)
    ends_with(one.start(), 78, "was recreated since", "kafka.group_id and snapshot.topic")


def topics(one: Deployment) -> set[str]:
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        return set(admin.list_topics())


def test_an_input_that_has_grown_is_refused_at_the_start(deployment: Make) -> None:
    one = deployment()
    assert running(one).end(signal.SIGTERM) == 0
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        admin.create_partitions({one.topic: 2})
    ends_with(one.start(), 78, "its keys have moved", "new kafka.group_id")


def test_an_input_that_grows_while_it_runs_is_heard_of_soon(deployment: Make) -> None:
    """Until then the records of keys that moved are not read. The client alone looks for new partitions only every five
    minutes."""
    one = deployment()
    daemon = running(one)
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        admin.create_partitions({one.topic: 2})
    ends_with(daemon, 78, "has grown from 1 partitions", "a new snapshot.topic and kafka.group_id")


@pytest.mark.parametrize("key", ["source.topic", "kafka.group_id"])
def test_state_of_another_deployment_that_names_the_same_snapshot_topic_is_refused(deployment: Make, key: str) -> None:
    one, other = deployment(), deployment()
    assert running(one).end(signal.SIGTERM) == 0
    ends_with(
        one.start(f"{key}={other.topic}"), 78, f"{key} was {one.topic!r} and is {other.topic!r}", "snapshot.topic"
    )


def test_what_the_cluster_does_not_allow_is_told_by_its_key(deployment: Make) -> None:
    """One broker cannot hold three replicas, and allows a transaction a quarter of an hour."""
    one = deployment()
    missing = ("sink.create_topics=true", f"sink.alerts_topic={one.topic}-missing")
    ends_with(one.start(*missing, "sink.replication_factor=3"), 78, "only 1 broker", "set sink.replication_factor to")
    ends_with(one.start("kafka.transaction_timeout_seconds=1000"), 78, "kafka.transaction_timeout_seconds only")


def test_state_of_another_configuration_is_refused(deployment: Make) -> None:
    one = deployment()
    assert running(one).end(signal.SIGTERM) == 0
    other = one.start('stream.key=["id", "temperature"]', 'stream.numeric=["time"]')
    ends_with(other, 78, f"taking over {one.topic}-0", "stream.key", "was written under other settings")


@pytest.mark.parametrize("key", [b"ledger", b"bucket/0/0"])
def test_state_that_somebody_wrote_into_is_refused_and_a_new_topic_goes_on(deployment: Make, key: bytes) -> None:
    one = deployment(1, "snapshot.buckets=1")
    assert running(one).end(signal.SIGTERM) == 0
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as producer:
        producer.send(f"{one.topic}-snapshots", b"garbage" * 20, key, partition=0)
    ends_with(one.start(), 78, f"taking over {one.topic}-0", "not a snapshot", "new snapshot.topic")
    anew = one.start(f"snapshot.topic={one.topic}-anew")
    wait_for("it to be ready", anew.ready)
    taken = anew.logged("partition taken over")
    assert taken is not None
    assert (taken["state"], taken["position"]) == ("lost", 130)


def test_an_alert_that_its_topic_does_not_take_ends_it_and_is_told_once_that_is_mended(deployment: Make) -> None:
    one = deployment()
    daemon = running(one, 100)
    alerts = f"{one.topic}-alerts"
    configure(one, alerts, max_message_bytes="600")
    one.produce(LINES[100:])
    ends_with(daemon, 78, f"writing to topic '{alerts}'", "raise max.message.bytes")
    ends_with(one.start(), 78, f"topic '{alerts}' takes 600 bytes", "limits.alert_bytes")
    configure(one, alerts, max_message_bytes="1000000")
    again = one.start()
    wait_for("all to be committed", lambda: one.committed() == len(LINES))
    assert one.told() == expected(one, {0: LINES})
    assert again.end(signal.SIGTERM) == 0


def test_a_dead_letter_that_its_topic_does_not_take_ends_it_and_is_kept_once_that_is_mended(deployment: Make) -> None:
    one = deployment()
    daemon = running(one)
    letters = f"{one.topic}-dead-letters"
    configure(one, letters, max_message_bytes="5000")
    one.produce([b"not json" * 1000])
    ends_with(daemon, 78, f"writing to topic '{letters}' (8000 bytes)", "raise max.message.bytes")
    configure(one, letters, max_message_bytes="1000000")
    again = one.start()
    wait_for("all to be committed", lambda: one.committed() == 131)
    assert again.end(signal.SIGTERM) == 0
    assert [len(value) for value in one._committed(letters)] == [8000]


@pytest.mark.parametrize("topic", ["alerts", "dead-letters", "snapshots"])
def test_a_topic_that_is_deleted_while_it_runs_is_named_by_the_next_start(deployment: Make, topic: str) -> None:
    """The client waits for a deleted topic to come back, as it would for one that has just been created."""
    one = deployment(1, "limits.retry_seconds=5")
    daemon = running(one, 100)
    delete(one, f"{one.topic}-{topic}")
    one.produce([*LINES[100:], b"not json"])
    assert daemon.process.wait(timeout=90) in (69, 75)
    ends_with(one.start("sink.create_topics=false"), 78, f"{one.topic}-{topic}", "create it, or set sink.create_topics")
    again = one.start()
    wait_for("all to be committed", lambda: one.committed() == len(LINES) + 1)
    assert again.end(signal.SIGTERM) == 0


def test_ready_says_how_far_a_restore_is(deployment: Make) -> None:
    one = deployment(1, "snapshot.seconds=100000", "kafka.max_poll_records=5")
    daemon = running(one, 130)
    daemon.end(signal.SIGKILL)
    again = one.start()
    said: list[dict[str, Any]] = []

    def ready() -> bool:
        status, body = again.get("/ready")
        said.extend([json.loads(body)] if body else [])
        return status == 200

    wait_for("it to be ready", ready)
    assert said[-1]["restore_records_left"] == 0
    assert said[-1]["restore_seconds_left"] == 0.0
    assert {"restore_records_left", "restore_seconds_left"} <= said[0].keys()
