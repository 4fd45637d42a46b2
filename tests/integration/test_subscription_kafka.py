"""`Subscription` on Apache Kafka: what `forward` reads of its topic."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pytest
from daemon_process import recreate, wait_for
from kafka import KafkaProducer
from kafka.errors import RebalanceInProgressError

from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.kafka.subscription import Subscription, TopicRecord

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


class Topic:
    """A topic, and the subscription that reads it. `lost` holds the partitions that it was told to be lost."""

    def __init__(self, broker: Any) -> None:
        self.bootstrap, self.name = broker.bootstrap, broker.topic("alerts")
        self.lost: list[int] = []

    def subscription(self) -> Subscription:
        return Subscription(
            KafkaSettings(bootstrap_servers=self.bootstrap),
            self.name,
            f"{self.name}-forward",
            from_beginning=True,
            retry_seconds=60.0,
            on_lost=self.lost.extend,
        )

    def publish(self, *values: str) -> None:
        with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=self.bootstrap)) as producer:
            for value in values:
                producer.send(self.name, value.encode(), partition=0)


@pytest.fixture
def topic(kafka_broker: Any) -> Topic:
    return Topic(kafka_broker)


def read(subscription: Subscription, last: str) -> list[str]:
    """Read until this record has come and nothing more does, and return the values of all."""
    found: list[str] = []

    def ended() -> bool:
        some = subscription.read()
        for one in some:
            found.append((one.value or b"").decode())
            subscription.done(one)
        return not some and found[-1:] == [last]

    wait_for("the records", ended)
    return found


def look_at_the_brokers(subscription: Subscription) -> None:
    """Ask for the topic's metadata at once, which the client would do within half a minute."""
    subscription._consumer._cluster.request_update()


def test_a_topic_that_is_recreated_while_it_is_read_is_read_from_its_beginning(topic: Topic) -> None:
    """The client goes on at its position in the former topic until it notices. The messages before that used to be
    skipped unseen."""
    topic.publish("a", "b", "c")
    with closing(topic.subscription()) as subscription:
        assert read(subscription, "c") == ["a", "b", "c"]
        recreate(topic.bootstrap, topic.name)
        new = [str(number) for number in range(10)]
        topic.publish(*new)
        early = read(subscription, "9")
        look_at_the_brokers(subscription)
        assert early[-10:] == new or read(subscription, "9") == new, "the client may have noticed it before that"
    with closing(topic.subscription()) as later:
        topic.publish("next")
        assert read(later, "next") == ["next"], "what was read is committed"


def test_what_was_in_hand_of_a_topic_that_is_recreated_moves_no_offset_of_the_new_one(topic: Topic) -> None:
    topic.publish("a", "b", "c")
    with closing(topic.subscription()) as subscription:
        held: list[TopicRecord] = []
        wait_for("the records", lambda: held.extend(subscription.read()) or len(held) == 3)
        recreate(topic.bootstrap, topic.name)
        topic.publish("new 0", "new 1", "new 2", "new 3")
        subscription.done(held[-1])
        look_at_the_brokers(subscription)
        wait_for("the new topic", lambda: subscription.keep_alive() or not subscription.is_ours(held[-1]))
        assert topic.lost == [0]
        subscription.done(held[-1])
    with closing(topic.subscription()) as later:
        assert read(later, "new 3") == ["new 0", "new 1", "new 2", "new 3"]


@pytest.mark.parametrize("what", ["stood still", "was cut off"])
def test_what_was_in_hand_for_almost_the_session_timeout_without_a_heartbeat_is_read_again(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The group counts from the last heartbeat, and another member may have the partition, and have sent more of it."""
    topic.publish("a")
    with closing(topic.subscription()) as subscription:
        held: list[TopicRecord] = []
        wait_for("the record", lambda: held.extend(subscription.read()) or len(held) == 1)
        subscription.keep_alive()
        assert subscription.is_ours(held[0])
        if what == "stood still":
            subscription._polled_at -= 43.0
        else:
            heartbeat = subscription._consumer._coordinator.heartbeat
            monkeypatch.setattr(heartbeat, "received_heartbeat", lambda: None)
            heartbeat.last_receive = heartbeat.last_reset = time.monotonic() - 43.0
        subscription.keep_alive()
        assert not subscription.is_ours(held[0])
        assert topic.lost == [0]
        assert read(subscription, "a") == ["a"]


def test_what_a_rebalance_keeps_from_being_committed_is_committed_before_it_leaves(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another member would otherwise begin at an older offset, and send again what was sent already."""
    topic.publish("a", "b")
    subscription = topic.subscription()
    found: list[TopicRecord] = []
    wait_for("both records", lambda: found.extend(subscription.read()) or len(found) == 2)
    subscription.done(found[-1])
    commit, refusals = subscription._consumer.commit, [RebalanceInProgressError(), RebalanceInProgressError()]

    def refused_at_first(*arguments: Any, **more: Any) -> None:
        if refusals:
            raise refusals.pop()
        commit(*arguments, **more)

    monkeypatch.setattr(subscription._consumer, "commit", refused_at_first)
    subscription.close()
    topic.publish("c")
    with closing(topic.subscription()) as later:
        assert read(later, "c") == ["c"]
