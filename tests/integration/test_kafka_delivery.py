"""`KafkaDelivery` on Apache Kafka: a commit makes everything visible, or nothing."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from anomaly_daemon.errors import Fenced, Incompatible, Unavailable
from anomaly_daemon.transport.kafka import delivery as delivery_module
from anomaly_daemon.transport.kafka.snapshots import KafkaSnapshots
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition
from anomaly_daemon.transport.steps import STEPS

pytestmark = pytest.mark.kafka


class Died(Exception):  # noqa: N818 - not an error of the program
    """Simulates the death of the process at a step of the commit."""


def a_commit(rig: Any, position: int = 3, mark: bytes = b"a") -> Commit:
    partition = Partition(rig.input, 0)
    return Commit(
        {partition: position},
        alerts=[Outgoing(b"k", b"alert " + mark, (("ce_id", b"1"),))],
        dead_letters=[Outgoing(b"k", b"dead " + mark), Outgoing(None, None)],
        snapshots={partition: [Outgoing(b"bucket", b"state " + mark)]},
    )


def joined(rig: Any, polling: Any, **changes: Any) -> Any:
    source, told = rig.source(**changes)
    polling([source], lambda _: bool(told.owned))
    return source


def test_a_commit_makes_everything_visible(rig: Any, polling: Any) -> None:
    source = joined(rig, polling)

    rig.delivery(source).deliver(a_commit(rig))

    assert rig.visible(rig.sink.alerts_topic) == [b"alert a"]
    assert rig.visible(rig.sink.dead_letter_topic) == [b"dead a", b""]
    assert rig.visible(rig.snapshot.topic) == [b"state a"]
    assert rig.position() == source.committed(Partition(rig.input, 0)) == 3


def test_the_steps_are_those_of_the_memory_transport(rig: Any, polling: Any) -> None:
    steps: list[str] = []
    rig.delivery(joined(rig, polling), before=steps.append).deliver(a_commit(rig))
    assert tuple(steps) == STEPS


@pytest.mark.parametrize("fatal", STEPS)
def test_a_death_before_any_step_leaves_nothing_and_after_the_commit_everything(
    rig: Any, polling: Any, fatal: str
) -> None:
    def die(step: str) -> None:
        if step == fatal:
            raise Died

    kafka = rig.kafka(transactional_id=rig.group)
    source = joined(rig, polling)
    doomed = rig.delivery(source, kafka=kafka, before=die)
    with pytest.raises(Died):
        doomed.deliver(a_commit(rig, mark=b"first"))

    rig.delivery(source, kafka=kafka)  # the next instance aborts a transaction that is still open

    survived = fatal == "reply"
    assert rig.visible(rig.sink.alerts_topic) == ([b"alert first"] if survived else [])
    assert rig.visible(rig.snapshot.topic) == ([b"state first"] if survived else [])
    assert rig.position() == (3 if survived else None)


def test_a_second_instance_of_the_same_id_fences_the_first(rig: Any, polling: Any) -> None:
    kafka = rig.kafka(transactional_id=rig.group)
    source = joined(rig, polling)
    zombie = rig.delivery(source, kafka=kafka)
    zombie.deliver(a_commit(rig, 1, b"one"))
    rig.delivery(source, kafka=kafka).deliver(a_commit(rig, 2, b"two"))

    with pytest.raises(Fenced):
        zombie.deliver(a_commit(rig, 3, b"zombie"))

    assert rig.visible(rig.sink.alerts_topic) == [b"alert one", b"alert two"]
    assert rig.position() == 2


def test_commits_follow_each_other_and_may_be_empty(rig: Any, polling: Any) -> None:
    delivery = rig.delivery(joined(rig, polling))
    for position in (1, 2):
        delivery.deliver(Commit({Partition(rig.input, 0): position}))
    delivery.deliver(Commit({}))
    assert rig.position() == 2


def test_a_record_larger_than_the_topic_takes_is_named_and_the_delivery_lives_on(rig: Any, polling: Any) -> None:
    delivery = rig.delivery(joined(rig, polling))
    large = Commit({Partition(rig.input, 0): 1}, alerts=[Outgoing(b"k", b"x" * 2_000_000)])

    with pytest.raises(Incompatible, match=rf"topic '{rig.sink.alerts_topic}' \(2000000 bytes\).*max\.message\.bytes"):
        delivery.deliver(large)

    assert rig.position() is None
    delivery.deliver(a_commit(rig))
    assert rig.visible(rig.sink.alerts_topic) == [b"alert a"]


def test_a_record_larger_than_the_client_sends_is_named_too(rig: Any, polling: Any) -> None:
    delivery = rig.delivery(joined(rig, polling))
    with pytest.raises(Incompatible, match="bytes when serialized"):
        delivery.deliver(Commit({}, alerts=[Outgoing(b"k", b"x" * 100_000_001)]))


class LosesItsReply:
    """Wraps the producer so that the commit takes place (if `commits`) or not, and its answer never arrives."""

    def __init__(self, producer: Any, commits: bool) -> None:
        self._producer, self._commits = producer, commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self) -> None:
        from kafka.errors import KafkaError

        if self._commits:
            self._producer.commit_transaction()
        raise KafkaError("Could not execute transactional request for unknown reasons")

    def abort_transaction(self) -> None:
        from kafka.errors import KafkaError

        raise KafkaError("fatal")


@pytest.mark.parametrize("commits", [True, False])
def test_a_commit_in_doubt_is_looked_up_and_made_exactly_once(rig: Any, polling: Any, commits: bool) -> None:
    delivery = rig.delivery(joined(rig, polling))
    delivery._producer = LosesItsReply(delivery._producer, commits)

    delivery.deliver(a_commit(rig))

    assert rig.visible(rig.sink.alerts_topic) == [b"alert a"]
    assert rig.position() == 3


@pytest.mark.parametrize("commits", [True, False])
def test_a_doubt_outlives_an_attempt_that_could_not_settle_it(
    rig: Any, polling: Any, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    """The broker stays away after the lost reply. The next attempt must ask for the first attempt's token, not for its
    own."""
    delivery = rig.delivery(joined(rig, polling))
    delivery._producer = LosesItsReply(delivery._producer, commits)
    commit = a_commit(rig)

    def unreachable() -> None:
        raise Unavailable("no broker")

    with monkeypatch.context() as away:
        away.setattr(delivery, "_open", unreachable)
        for _ in range(2):
            with pytest.raises(Unavailable):
                delivery.deliver(commit)
    delivery.deliver(commit)

    assert rig.visible(rig.sink.alerts_topic) == [b"alert a"]
    assert rig.position() == 3


@pytest.mark.parametrize("step", ["dead_letters", "positions", "commit"])
def test_a_transaction_that_the_coordinator_ended_for_its_age_is_made_again(
    broker_script: Any, rig_on: Any, polling: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The producer is told only that it is fenced, as it would be because of another instance with its id. This must
    not count as a refusal by the group, however long it takes."""
    from kafka import KafkaAdminClient

    monkeypatch.setattr(delivery_module, "REFUSED_SECONDS", 0.0)

    with broker_script.Broker(
        properties={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200"}
    ) as broker:
        rig = rig_on(broker.bootstrap)
        kafka = rig.kafka(transactional_id="the-one", transaction_timeout_seconds=1.0)
        admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=broker.bootstrap)
        outages = [step]

        def outlast(at: str) -> None:
            if outages == [at]:
                outages.clear()
                delivery._producer.flush()
                while admin.describe_transactions(["the-one"])["the-one"].state.value != "CompleteAbort":
                    time.sleep(0.05)

        delivery = rig.delivery(joined(rig, polling), kafka=kafka, before=outlast)
        delivery.deliver(a_commit(rig))

        assert outages == []
        assert rig.visible(rig.sink.alerts_topic) == [b"alert a"]
        assert rig.position() == 3
        admin.close()
        rig.close()


def test_a_commit_survives_a_crash_and_restart_of_the_broker(broker_script: Any, rig_on: Any, polling: Any) -> None:
    with broker_script.Broker() as broker:
        rig = rig_on(broker.bootstrap)
        delivery = rig.delivery(joined(rig, polling), deadline_seconds=100.0)
        delivery.deliver(a_commit(rig, 1, b"before"))
        broker.kill()
        commit = threading.Thread(target=delivery.deliver, args=(a_commit(rig, 2, b"across"),))
        commit.start()
        broker.start()
        commit.join(timeout=100)

        assert rig.visible(rig.sink.alerts_topic) == [b"alert before", b"alert across"]
        assert rig.position() == 2
        rig.close()


def test_snapshots_come_back_newest_and_without_what_was_deleted(rigs: Any, polling: Any) -> None:
    rig = rigs(2)
    source, told = rig.source()
    polling([source], lambda _: len(told.owned) == 2)
    delivery = rig.delivery(source)
    zero, one = Partition(rig.input, 0), Partition(rig.input, 1)
    delivery.deliver(Commit({zero: 1}, snapshots={zero: [Outgoing(b"a", b"old"), Outgoing(b"b", b"kept")]}))
    delivery.deliver(Commit({zero: 2}, snapshots={zero: [Outgoing(b"a", b"new"), Outgoing(b"c", b"gone")]}))
    delivery.deliver(Commit({zero: 3}, snapshots={zero: [Outgoing(b"c", None)], one: [Outgoing(b"a", b"other")]}))

    snapshots = KafkaSnapshots(rig.kafka(), rig.snapshot)

    assert snapshots.load(zero) == {b"a": b"new", b"b": b"kept"}
    assert snapshots.load(one) == {b"a": b"other"}
    snapshots.close()


def test_an_aborted_snapshot_at_the_end_is_neither_read_nor_waited_for_in_vain(rig: Any, polling: Any) -> None:
    def die(step: str) -> None:
        if step == "commit":
            raise Died

    partition = Partition(rig.input, 0)
    kafka = rig.kafka(transactional_id=rig.group)
    source = joined(rig, polling)
    rig.delivery(source, kafka=kafka).deliver(a_commit(rig))
    with pytest.raises(Died):
        rig.delivery(source, kafka=kafka, before=die).deliver(a_commit(rig, mark=b"aborted"))
    rig.delivery(source, kafka=kafka)

    snapshots = KafkaSnapshots(rig.kafka(), rig.snapshot)
    assert snapshots.load(partition) == {b"bucket": b"state a"}
    snapshots.close()


def test_snapshots_of_a_fresh_topic_are_none(rig: Any) -> None:
    snapshots = KafkaSnapshots(rig.kafka(), rig.snapshot)
    assert snapshots.load(Partition(rig.input, 0)) == {}
    snapshots.close()


def test_a_restore_waits_for_the_predecessors_open_transaction(rig: Any, polling: Any) -> None:
    """The predecessor's last commit may already be decided. A restore that stopped at the last stable offset would miss
    it."""
    partition = Partition(rig.input, 0)
    loaded: list[Any] = []
    snapshots = KafkaSnapshots(rig.kafka(), rig.snapshot)
    restore = threading.Thread(target=lambda: loaded.append(snapshots.load(partition)))

    def begin_the_restore(step: str) -> None:
        if step == "positions":
            delivery._producer.flush()
            restore.start()

    delivery = rig.delivery(joined(rig, polling), before=begin_the_restore)
    delivery.deliver(a_commit(rig))
    restore.join(timeout=30)

    assert loaded == [{b"bucket": b"state a"}]
    snapshots.close()
