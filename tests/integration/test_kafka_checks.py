"""`validate --online`, and the checks of the topics at start, on Apache Kafka."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient

from anomaly_daemon.errors import ExitCode, Incompatible
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.checks import check_online
from anomaly_daemon.transport.kafka.inspect import sample_topic
from anomaly_daemon.transport.kafka.log import TopicLog
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.kafka.topics import describe, prepare_topics

pytestmark = pytest.mark.kafka


def topics_of(broker: Any, partitions: int = 2, **snapshot: str) -> dict[str, str]:
    return {
        "input": broker.topic("input", partitions),
        "alerts": broker.topic("alerts"),
        "dead": broker.topic("dead", configs={"max.message.bytes": "16000000"}),
        "snapshots": broker.topic("snapshots", partitions, {"cleanup.policy": "compact"} | snapshot),
    }


def failures(settings: Any, **heard: str) -> dict[str, str]:
    return {finding.what: finding.detail for finding in check_online(settings, heard) if not finding.ok}


def test_a_right_configuration_has_no_failures(kafka_broker: Any, make_settings: Any) -> None:
    topics = topics_of(kafka_broker)
    settings = make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap})
    assert failures(settings) == {}
    assert {finding.what for finding in check_online(settings)} >= {
        "broker",
        f"source.topic {topics['input']}",
        f"snapshots in {topics['snapshots']}",
        f"retention of {topics['input']}",
        "permission on group anomaly-daemon",
        "permission on transactional id anomaly-daemon-...",
    }


def test_missing_topics_are_found(kafka_broker: Any, make_settings: Any) -> None:
    topics = {name: f"missing-{name}-{uuid4().hex}" for name in ("input", "alerts", "dead", "snapshots")}
    kafka = {"bootstrap_servers": kafka_broker.bootstrap}

    found = failures(make_settings(topics, kafka))
    assert found[f"source.topic {topics['input']}"] == "does not exist: create it"
    assert found[f"snapshot.topic {topics['snapshots']}"] == "does not exist: create it, or set sink.create_topics"
    assert list(failures(make_settings(topics, kafka, create_topics=True))) == [f"source.topic {topics['input']}"]


def test_what_is_missing_has_the_code_that_a_start_ends_with(kafka_broker: Any, make_settings: Any) -> None:
    topics = {name: f"missing-{name}-{uuid4().hex}" for name in ("input", "alerts", "dead", "snapshots")}
    settings = make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap})
    with pytest.raises(Incompatible) as refused:
        prepare_topics(settings)
    assert refused.value.exit_code == ExitCode.CONFIGURATION
    assert {found.code for found in check_online(settings) if not found.ok} == {ExitCode.CONFIGURATION}


def test_what_does_not_fit_is_found(kafka_broker: Any, make_settings: Any) -> None:
    topics = topics_of(kafka_broker, 1, **{"cleanup.policy": "delete"})
    topics["input"] = kafka_broker.topic("input", 2, {"retention.ms": "30000"})
    topics["dead"] = kafka_broker.topic("dead")
    topics["alerts"] = kafka_broker.topic("alerts", configs={"max.message.bytes": "1000"})

    found = failures(make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap}))

    assert "has 1 partitions" in found[f"snapshots in {topics['snapshots']}"]
    assert "lengthen it" in found[f"retention of {topics['input']}"]
    assert "max.message.bytes" in found[f"largest record of {topics['dead']}"]
    assert "limits.alert_bytes" in found[f"largest record of {topics['alerts']}"]


def test_a_topic_that_a_start_reads_whole_is_there_and_has_one_partition(kafka_broker: Any, make_settings: Any) -> None:
    """The checks agree with `TopicLog`: it refuses exactly the topics that are reported as wrong here."""
    kafka = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap)
    settings = make_settings(topics_of(kafka_broker), {"bootstrap_servers": kafka_broker.bootstrap})
    right, wide, absent = kafka_broker.topic("said", 1), kafka_broker.topic("said", 2), f"missing-{uuid4().hex}"
    assert failures(settings, feedback=right) == {}
    TopicLog(kafka, right).close()
    for name, says in (
        (wide, "has 2 partitions: create it with one"),
        (absent, "does not exist: create it, or set sink.create_topics"),
    ):
        (found,) = failures(settings, feedback=name).items()
        assert found[0] == f"feedback {name}"
        assert says in found[1]
        with pytest.raises(Incompatible):
            TopicLog(kafka, name)
    creates = settings.model_copy(update={"sink": settings.sink.model_copy(update={"create_topics": True})})
    assert failures(creates, feedback=absent) == {}


def test_a_producers_clock_that_nothing_bounds_is_looked_at_and_refuses_nothing(
    kafka_broker: Any, make_settings: Any
) -> None:
    topics, bound = topics_of(kafka_broker), "message.timestamp.after.max.ms"
    kafka = {"bootstrap_servers": kafka_broker.bootstrap}
    for configs, told in (
        ({bound: str(2**63 - 1)}, 1),
        ({bound: "3600000"}, 0),
        ({bound: str(2**63 - 1), "message.timestamp.type": "LogAppendTime"}, 0),
    ):
        topics["input"] = kafka_broker.topic("input", 2, configs)
        settings = make_settings(topics, kafka)
        assert failures(settings) == {}
        (found,) = [one for one in check_online(settings) if one.what == f"clock of {topics['input']}"]
        assert found.doubtful == bool(told)
        assert len(prepare_topics(settings)) == told


def test_an_input_that_is_bounded_by_its_size_is_looked_at_and_refuses_nothing(
    kafka_broker: Any, make_settings: Any
) -> None:
    topics = topics_of(kafka_broker)
    for configs, told in (({"retention.bytes": "1000000"}, True), ({}, False)):
        topics["input"] = kafka_broker.topic("input", 2, configs)
        settings = make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap})
        assert failures(settings) == {}
        assert [one.doubtful for one in check_online(settings) if one.what == f"size of {topics['input']}"] == [
            True
        ] * told


def test_a_broker_that_is_not_there_is_the_one_finding(broker_script: Any, make_settings: Any) -> None:
    (port,) = broker_script.free_ports(1)
    kafka = {"bootstrap_servers": f"localhost:{port}", "bootstrap_timeout_seconds": 0.2}
    names = {name: name for name in ("input", "alerts", "dead", "snapshots")}
    assert "connection refused" in failures(make_settings(names, kafka))["broker"]


def test_missing_topics_are_created_as_they_should_be(kafka_broker: Any, make_settings: Any) -> None:
    fresh = uuid4().hex
    topics = {"input": kafka_broker.topic("input", 3)} | {n: f"{n}-{fresh}" for n in ("alerts", "dead", "snapshots")}
    settings = make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap}, create_topics=True)

    prepare_topics(settings)
    prepare_topics(settings)  # a second start finds the existing topics

    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    found = describe(admin, topics.values())
    admin.close()
    assert [found[topics[name]].partitions for name in ("alerts", "dead", "snapshots")] == [3, 3, 3]
    snapshots = found[topics["snapshots"]].config
    assert (snapshots["cleanup.policy"], snapshots["segment.bytes"]) == ("compact", str(32 * 1024 * 1024))
    assert failures(settings) == {}


def test_a_start_without_its_topics_is_refused(kafka_broker: Any, make_settings: Any) -> None:
    topics = topics_of(kafka_broker)
    kafka = {"bootstrap_servers": kafka_broker.bootstrap}
    with pytest.raises(Incompatible, match=r"source.topic 'nowhere' does not exist: create it$"):
        prepare_topics(make_settings(topics | {"input": "nowhere"}, kafka))
    with pytest.raises(Incompatible, match=r"sink.alerts_topic 'nowhere' does not exist"):
        prepare_topics(make_settings(topics | {"alerts": "nowhere"}, kafka))


def test_a_mistyped_topic_is_answered_with_the_one_that_is_there(kafka_broker: Any, make_settings: Any) -> None:
    topics = topics_of(kafka_broker)
    settings = make_settings(topics | {"input": topics["input"] + "s"}, {"bootstrap_servers": kafka_broker.bootstrap})
    meant = f"did you mean '{topics['input']}'"
    with pytest.raises(Incompatible, match=meant):
        prepare_topics(settings)
    assert meant in failures(settings)[f"source.topic {topics['input']}s"]
    with pytest.raises(Incompatible, match=meant):
        sample_topic(settings.kafka, topics["input"] + "s", 1)


def test_snapshots_that_do_not_fit_the_input_are_refused(kafka_broker: Any, make_settings: Any) -> None:
    topics = topics_of(kafka_broker)
    kafka = {"bootstrap_servers": kafka_broker.bootstrap}
    with pytest.raises(Incompatible, match=r"has 2 partitions.* has 1"):
        prepare_topics(make_settings(topics | {"input": kafka_broker.topic("input", 1)}, kafka))
    loose = kafka_broker.topic("snapshots", 2)
    with pytest.raises(Incompatible, match="is not compacted"):
        prepare_topics(make_settings(topics | {"snapshots": loose}, kafka))


@pytest.mark.parametrize(
    ("topic", "configs", "said"),
    [
        ("input", {"retention.ms": "60000"}, r"keeps records for 60 s .* shorten snapshot\.seconds"),
        ("alerts", {"max.message.bytes": "1000"}, r"limits\.alert_bytes is up to 900000: raise it"),
        ("snapshots", {"cleanup.policy": "compact", "max.message.bytes": "1000"}, "a part of a snapshot is up to"),
        ("snapshots", {"cleanup.policy": "compact,delete", "retention.ms": "604800000"}, "deletes old records too"),
    ],
)
def test_what_would_only_fail_later_is_refused_at_the_start(
    kafka_broker: Any, make_settings: Any, topic: str, configs: dict[str, str], said: str
) -> None:
    topics = topics_of(kafka_broker, 1) | {topic: kafka_broker.topic(topic, 1, configs)}
    with pytest.raises(Incompatible, match=said):
        prepare_topics(make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap}))


def test_a_compacted_input_keeps_its_records_whatever_its_retention(kafka_broker: Any, make_settings: Any) -> None:
    compacted = {"retention.ms": "1000", "cleanup.policy": "compact"}
    topics = topics_of(kafka_broker, 1) | {"input": kafka_broker.topic("input", 1, compacted)}
    settings = make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap})
    prepare_topics(settings)
    assert [finding.detail for finding in check_online(settings) if not finding.ok] == []
    deleting = topics | {"input": kafka_broker.topic("input", 1, compacted | {"cleanup.policy": "compact,delete"})}
    with pytest.raises(Incompatible, match="keeps records for 1 s"):
        prepare_topics(make_settings(deleting, {"bootstrap_servers": kafka_broker.bootstrap}))


def test_settings_without_kafka_have_nothing_to_check(make_settings: Any) -> None:
    names = {name: name for name in ("input", "alerts", "dead", "snapshots")}
    files = make_settings(names, {}).model_copy(
        update={
            "source": make_settings(names, {}).source.model_copy(update={"kind": "files"}),
            "sink": make_settings(names, {}).sink.model_copy(update={"kind": "files"}),
        }
    )
    (finding,) = check_online(files)
    assert finding.ok
    assert isinstance(files.kafka, KafkaSettings)
