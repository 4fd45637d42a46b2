"""The queue of requests on Apache Kafka: each has one answer, even if a worker was removed from the group while it
worked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from daemon_process import wait_for
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove

from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.settings.retraining import RetrainingSettings
from anomaly_daemon.transport.kafka.inspect import read_range
from anomaly_daemon.transport.kafka.requests import RequestQueue
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Received

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


class Group:
    def __init__(self, broker: Any, closing: ExitStack) -> None:
        topics = {name: broker.topic(name) for name in ("requests", "results")}
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
