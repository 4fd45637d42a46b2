"""A commit without transactions on Apache Kafka: everything arrives at least once, in an order that loses nothing."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from daemon_process import Deployment, expected, readings, wait_for
from kafka.errors import KafkaTimeoutError
from kafka.future import Future
from kafka.structs import MemberState

from anomaly_daemon.errors import Evicted, Incompatible, Unavailable
from anomaly_daemon.transport.kafka import plain_delivery
from anomaly_daemon.transport.kafka.checks import check_online
from anomaly_daemon.transport.kafka.delivery import Sent
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition
from anomaly_daemon.transport.steps import STEPS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


class Died(BaseException):
    """Simulates the death of the process at a step of the commit."""


def a_commit(rig: Any, position: int = 3) -> Commit:
    partition = Partition(rig.input, 0)
    return Commit(
        {partition: position},
        alerts=[Outgoing(b"k", b"alert", (("ce_id", b"1"),))],
        dead_letters=[Outgoing(b"k", b"dead"), Outgoing(None, None)],
        snapshots={partition: [Outgoing(b"bucket", b"state")]},
    )


def joined(rig: Any, polling: Any, **changes: Any) -> Any:
    source, told = rig.source(**changes)
    polling([source], lambda _: bool(told.owned))
    return source


def seen(rig: Any) -> tuple[Any, ...]:
    return (rig.visible(rig.sink.alerts_topic), rig.position(), rig.visible(rig.snapshot.topic))


def test_a_commit_makes_everything_visible(rig: Any, polling: Any) -> None:
    rig.delivery(joined(rig, polling), atomic=False).deliver(a_commit(rig))
    assert seen(rig) == ([b"alert"], 3, [b"state"])
    assert rig.visible(rig.sink.dead_letter_topic) == [b"dead", b""]


def test_its_steps_have_the_names_of_the_others_in_an_order_of_their_own(rig: Any, polling: Any) -> None:
    steps: list[str] = []
    rig.delivery(joined(rig, polling), atomic=False, before=steps.append).deliver(a_commit(rig))
    assert sorted(steps) == sorted(STEPS)
    assert steps == ["begin", "alerts", "dead_letters", "positions", "snapshots", "commit", "reply"]


@pytest.mark.parametrize(
    ("fatal", "left"),
    [
        ("alerts", ([], None, [])),
        ("positions", ([b"alert"], None, [])),
        ("snapshots", ([b"alert"], 3, [])),
        ("commit", ([b"alert"], 3, [b"state"])),
    ],
)
def test_a_death_leaves_what_came_before_it(rig: Any, polling: Any, fatal: str, left: tuple[Any, ...]) -> None:
    def die(step: str) -> None:
        if step == fatal:
            raise Died

    with pytest.raises(Died):
        rig.delivery(joined(rig, polling), atomic=False, before=die).deliver(a_commit(rig))
    assert seen(rig) == left


def test_an_attempt_at_the_same_commit_does_not_repeat_alerts_that_were_acknowledged(rig: Any, polling: Any) -> None:
    source, failing = joined(rig, polling), [True]

    def fail_once(step: str) -> None:
        if step == "positions" and failing.pop():
            failing.append(False)
            raise Died

    delivery, commit = rig.delivery(source, atomic=False, before=fail_once), a_commit(rig)
    with pytest.raises(Died):
        delivery.deliver(commit)
    failing[:] = [False]
    delivery.deliver(commit)
    assert seen(rig) == ([b"alert"], 3, [b"state"])


def test_a_record_that_is_too_large_is_named(rig: Any, polling: Any) -> None:
    source = joined(rig, polling)
    with pytest.raises(Incompatible, match=r"max\.message\.bytes"):
        rig.delivery(source, atomic=False).deliver(Commit({}, alerts=[Outgoing(b"k", bytes(2_000_000))]))


def test_an_alert_that_went_ahead_and_did_not_arrive_is_sent_again_by_its_commit(rig: Any, polling: Any) -> None:
    delivery = rig.delivery(joined(rig, polling), atomic=False)
    (told,) = delivery.send_ahead([Outgoing(b"k", b"alert")])
    told.way.future.get(timeout=30.0)
    told.way = Sent(rig.sink.alerts_topic, 5, Future().failure(KafkaTimeoutError("given up")))
    delivery.deliver(Commit({}, alerts=[Outgoing(b"k", b"later")], ahead=[told]))
    assert rig.visible(rig.sink.alerts_topic) == [b"alert", b"alert", b"later"]


def test_an_alert_that_cannot_go_ahead_waits_for_its_commit_which_says_why(rig: Any, polling: Any) -> None:
    delivery, large = rig.delivery(joined(rig, polling), atomic=False), Outgoing(b"k", bytes(200_000_000))
    told = delivery.send_ahead([Outgoing(b"k", b"alert"), large])
    assert [one.record.value for one in told] == [b"alert"]
    with pytest.raises(Incompatible, match=r"max\.message\.bytes"):
        delivery.deliver(Commit({}, alerts=[large], ahead=told))


def test_a_member_hands_over_from_within_the_rebalance(rigs: Any, polling: Any) -> None:
    """The rebalance listener runs on the consumer's own thread, where the consumer itself could not commit."""
    rig = rigs(2)
    first, told = rig.source()
    polling([first], lambda _: len(told.owned) == 2)
    delivery = rig.delivery(first, atomic=False)
    told.on_revoked = lambda gone: delivery.deliver(Commit(dict.fromkeys(gone, 7), alerts=[Outgoing(b"k", b"last")]))
    second, also_told = rig.source()
    polling([first, second], lambda _: len(also_told.owned) == 1 and len(told.owned) == 1)
    (moved,) = also_told.owned
    assert second.committed(moved) == 7
    assert rig.visible(rig.sink.alerts_topic) == [b"last"]


def test_the_member_that_stays_commits_while_the_group_moves_on(rigs: Any, polling: Any) -> None:
    rig = rigs(2)
    first, told = rig.source()
    polling([first], lambda _: len(told.owned) == 2)
    delivery = rig.delivery(first, atomic=False)
    second, also_told = rig.source()
    polling([first, second], lambda _: len(also_told.owned) == 1)
    (kept,) = told.owned
    delivery.deliver(Commit({kept: 1}))
    assert second.committed(kept) == 1


def test_a_group_that_waits_for_its_leader_is_waited_for_and_nothing_is_told_twice(
    rigs: Any, polling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group's members can commit again as soon as the leader answers, or is removed from the group."""
    monkeypatch.setattr(plain_delivery, "REFUSED_SECONDS", 0.5)
    rig = rigs(2)
    (leader, leaders), (member, told) = rig.source(), rig.source()
    polling([leader], lambda _: len(leaders.owned) == 2)
    polling([leader, member], lambda _: len(leaders.owned) == len(told.owned) == 1)
    delivery, generation = rig.delivery(member, atomic=False), member.membership().generation_id
    hanging, going_on = threading.Event(), threading.Event()
    coordinator = leader._consumer._coordinator
    inner = coordinator._perform_assignment

    def hangs(*arguments: Any, **keywords: Any) -> Any:
        hanging.set()
        going_on.wait(30.0)
        return inner(*arguments, **keywords)

    coordinator._perform_assignment = hangs

    def asking_anew(_: object) -> bool:  # a request made while another join ends is lost, so it is repeated
        if not hanging.is_set() and not coordinator.need_rejoin():
            coordinator.request_rejoin()
        return going_on.is_set()

    polls = threading.Thread(target=polling, args=([leader], asking_anew))
    polls.start()
    (mine,) = told.owned
    commit = Commit({mine: 1}, alerts=[Outgoing(b"k", b"alert")])
    try:
        polling([member], lambda _: hanging.is_set() and member.membership().generation_id > generation)
        with pytest.raises(Unavailable, match="takes no commits during a rebalance"):
            delivery.deliver(commit)
    finally:
        going_on.set()
        polls.join()
    polling([leader, member], lambda _: member.membership().state == MemberState.STABLE)
    delivery.deliver(commit)
    assert member.committed(mine) == 1
    assert rig.visible(rig.sink.alerts_topic) == [b"alert"]


def test_a_member_the_group_has_put_out_commits_and_stores_nothing(rig: Any, polling: Any) -> None:
    from kafka import KafkaAdminClient
    from kafka.admin import MemberToRemove

    source, told = rig.source(group_instance_id="one")
    polling([source], lambda _: bool(told.owned))
    delivery = rig.delivery(source, atomic=False)
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    (member,) = admin.describe_groups([rig.group])[rig.group]["members"]
    admin.remove_group_members(rig.group, [MemberToRemove(member_id=member["member_id"])])
    admin.close()
    with pytest.raises(Evicted):
        delivery.deliver(a_commit(rig, 9))
    assert rig.position() is None
    assert rig.visible(rig.snapshot.topic) == []


def test_no_rights_to_transactions_are_asked_for(kafka_broker: Any, make_settings: Any) -> None:
    topics = {name: kafka_broker.topic(name) for name in ("input", "alerts", "dead")}
    topics["snapshots"] = kafka_broker.topic("snapshots", 1, {"cleanup.policy": "compact"})
    settings = make_settings(topics, {"bootstrap_servers": kafka_broker.bootstrap})
    plain = settings.model_copy(update={"sink": settings.sink.model_copy(update={"delivery": "at_least_once"})})
    assert any("transactional" in finding.what for finding in check_online(settings))
    assert not any("transactional" in finding.what for finding in check_online(plain))


@pytest.fixture
def one(deployment: Callable[..., Deployment]) -> Deployment:
    return deployment(1, "sink.delivery=at_least_once", "kafka.group_instance_id=the-one")


def test_killed_again_and_again_it_loses_nothing_and_repeats_only_what_it_told(one: Deployment) -> None:
    lines = readings(["press", "oven", "saw"], 200, [60, 110, 160])
    chance, fed = random.Random(11), 0
    for _ in range(3):
        daemon = one.start()
        wait_for("it to be ready", daemon.ready)
        one.produce(lines[fed : fed + 200])
        fed += 200
        time.sleep(chance.uniform(0.0, 0.4))
        daemon.end(signal.SIGKILL)
    last = one.start()
    wait_for("the last one to be ready", last.ready)
    wait_for("all to be committed", lambda: one.committed() == len(lines))
    assert list(dict.fromkeys(one.told())) == expected(one, {0: lines})
    assert last.end(signal.SIGTERM) == 0
    again = one.start()
    wait_for("it to be ready", again.ready)
    taken = again.logged("partition taken over")
    assert taken is not None
    assert (taken["state"], taken["position"], taken["live_from"]) == ("restored", len(lines), len(lines))
