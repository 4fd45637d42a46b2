"""The queue of requests on Apache Kafka: each has one answer, even if a worker was removed from the group while it
worked."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from daemon_process import wait_for
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import MemberToRemove

from anomaly_daemon.commands import requests
from anomaly_daemon.commands.announce import announce
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import DaemonError
from anomaly_daemon.registry.registry import Move
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.settings.retraining import RetrainingSettings
from anomaly_daemon.transport.kafka.inspect import read_range
from anomaly_daemon.transport.kafka.requests import RequestQueue
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Received

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


class Group:
    def __init__(self, broker: Any, closing: ExitStack) -> None:
        any_time = {"message.timestamp.after.max.ms": str(2**63 - 1)}
        topics = {name: broker.topic(name, 1, any_time) for name in ("requests", "results")}
        self.kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, transaction_timeout_seconds=5)
        self.retraining = RetrainingSettings(
            requests_topic=topics["requests"], results_topic=topics["results"], group_id=topics["requests"]
        )
        self._closing = closing

    def worker(self) -> RequestQueue:
        made = RequestQueue(self.kafka, self.retraining)
        self._closing.callback(made.close)
        return made

    def put_out(self) -> None:
        """Remove every member from the group, as after a session timeout."""
        name = self.retraining.group_id
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self.kafka.bootstrap_servers)) as admin:
            (told,) = admin.describe_groups([name]).values()
            admin.remove_group_members(name, [MemberToRemove(one["member_id"]) for one in told["members"]])

    def answers(self) -> list[bytes | None]:
        batches = read_range(self.kafka, self.retraining.results_topic, None, None)
        return [value for batch in batches for value in batch.values]


@pytest.fixture
def group(kafka_broker: Any) -> Iterator[Group]:
    with ExitStack() as closing:
        yield Group(kafka_broker, closing)


def taken(one: RequestQueue) -> Received:
    found: Received = wait_for("the request", lambda: one.next(0.2))
    return found


def test_who_was_put_out_of_the_group_answers_nothing_and_the_next_one_does(group: Group) -> None:
    slow = group.worker()
    slow.ask("a1", b"{}")
    received = taken(slow)
    group.put_out()
    assert not slow.answer(received, "a1", b"slow")
    assert group.answers() == []
    quick = group.worker()
    slow.close()
    assert quick.answer(taken(quick), "a1", b"quick")
    assert group.answers() == [b"quick"]


def test_what_another_has_answered_meanwhile_is_not_answered_again_by_who_has_the_place_anew(group: Group) -> None:
    slow, quick = group.worker(), group.worker()
    slow.ask("a1", b"{}")
    received, was = taken(slow), slow._consumer.group_metadata().member_id
    group.put_out()
    quick.answer(taken(quick), "a1", b"quick")
    quick.close()
    wait_for(
        "to be out of the group", lambda: slow.next(0.2) is None and slow._consumer.group_metadata().member_id != was
    )
    wait_for("the place", lambda: slow.next(0.2) is None and slow.leads())
    slow.answer(received, "a1", b"slow")
    assert group.answers() == [b"quick"]
    slow.ask("b2", b"{}")
    slow.answer(taken(slow), "b2", b"next")
    assert group.answers() == [b"quick", b"next"]


def test_what_is_no_request_has_an_answer_without_a_name_each_time(group: Group) -> None:
    one = group.worker()
    for value in (b"first", b"second"):
        one.ask("", b"?")
        one.answer(taken(one), "", value)
    assert group.answers() == [b"first", b"second"]


def test_nothing_but_the_place_is_kept_of_a_request_that_has_its_answer(group: Group) -> None:
    one: RequestQueue = group.worker()
    for _ in range(2):
        one.ask("a1", b"{}")
    one.answer(taken(one), "a1", b"once")
    again: Callable[[], Received | None] = lambda: one.next(0.2)  # noqa: E731
    one.answer(wait_for("the second", again), "a1", None)
    assert group.answers() == [b"once"]
    assert one.next(0.2) is None


def test_a_request_whose_time_is_past_the_last_year_of_a_calendar_is_given_out(group: Group) -> None:
    """The worker that read it used to end, and so did the next one."""
    one = group.worker()
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=group.kafka.bootstrap_servers)) as producer:
        producer.send(group.retraining.requests_topic, b"{}", timestamp_ms=2**62).get(timeout=30)
    received = taken(one)
    assert received.appended == "9999-12-31T23:59:59.999000+00:00"
    assert one.answer(received, "a1", b"answered")
    assert list(read_range(group.kafka, group.retraining.results_topic, received.appended, None)) == []


def test_missing_topics_are_created_with_the_replication_of_the_configuration(
    group: Group, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broker cannot hold three replicas, and says so."""
    missing = f"{group.retraining.requests_topic}-missing"
    servers, fields = f"kafka.bootstrap_servers={group.kafka.bootstrap_servers}", 'stream.numeric=["a"]'
    settings = load(None, [servers, fields, "source.topic=in", "sink.replication_factor=3"])
    retraining = settings.retraining.model_copy(update={"requests_topic": missing, "announcements_topic": missing})
    settings = settings.model_copy(update={"retraining": retraining})
    with pytest.raises(DaemonError, match="ReplicationFactor"):
        RequestQueue(settings.kafka, retraining, settings.sink.replication_factor)
    with pytest.raises(DaemonError, match="ReplicationFactor"):
        requests.post(settings, argparse.Namespace(request="drift", start=None, end=None, json=False))
    announce(settings, {"champion": Move("ab", "2026-01-01T12:00:00+00:00", "promoted by hand")})
    assert "ReplicationFactor" in capsys.readouterr().err
