"""What the daemon may rely on where a commit becomes visible in parts (`sink.delivery: at_least_once`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest
from worlds import Died, Member, MemoryWorld, World, dies_before

from anomaly_daemon.transport.ports import Commit, Outgoing, Telling

ALERT = b'{"alert": "one"}'


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as closing:
        if request.param == "memory":
            yield MemoryWorld(closing, atomic=False)
        else:
            from kafka_world import KafkaWorld

            yield KafkaWorld(request.getfixturevalue("kafka_broker"), closing, atomic=False)


def a_commit(world: World) -> Commit:
    partition = world.partitions[0]
    snapshots = {partition: [Outgoing(b"bucket", b"state"), Outgoing(b"ledger", b"of it")]}
    return Commit({partition: 1}, [Outgoing(b"k", ALERT)], [Outgoing(b"k", b"\xff")], snapshots)


@pytest.mark.parametrize(
    ("step", "alerts", "letters", "committed", "stored"),
    [
        ("alerts", 0, 0, None, {}),
        ("positions", 1, 1, None, {}),
        ("snapshots", 1, 1, 1, {}),
        ("reply", 1, 1, 1, {b"bucket": b"state", b"ledger": b"of it"}),
    ],
)
def test_a_death_leaves_what_came_before_it_and_the_next_life_adds_the_rest(
    world: World, step: str, alerts: int, letters: int, committed: int | None, stored: dict[bytes, bytes]
) -> None:
    world.write(0, [b'{"a": 1}'] * 3)
    doomed = world.member(dies_before(step)).start()
    with pytest.raises(Died):
        doomed.delivery.deliver(a_commit(world))
    doomed.release()

    after = world.member().start()
    assert (world.alerts(), world.dead_letters()) == ([ALERT] * alerts, letters)
    assert after.source.committed(world.partitions[0]) == committed
    assert after.snapshots.load(world.partitions[0]) == stored
    after.delivery.deliver(a_commit(world))
    assert world.alerts() == [ALERT] * (alerts + 1)
    assert after.source.committed(world.partitions[0]) == 1
    assert after.snapshots.load(world.partitions[0]) == {b"bucket": b"state", b"ledger": b"of it"}


def telling(member: Member) -> Telling:
    return cast(Telling, member.delivery)


def test_an_alert_that_goes_ahead_is_visible_before_its_commit_which_does_not_repeat_it(world: World) -> None:
    world.write(0, [b'{"a": 1}'] * 3)
    member = world.member().start()
    told = telling(member).send_ahead([Outgoing(b"k", b"first"), Outgoing(b"k", b"second")])
    for _ in range(600):
        if len(world.alerts()) == 2:
            break
    assert (world.alerts(), member.source.committed(world.partitions[0])) == ([b"first", b"second"], None)
    member.delivery.deliver(Commit({world.partitions[0]: 1}, [Outgoing(b"k", b"third")], ahead=told))
    assert world.alerts() == [b"first", b"second", b"third"]
    assert member.source.committed(world.partitions[0]) == 1
    assert all(one.visible > 0.0 for one in told)


def test_whoever_dies_after_an_alert_went_ahead_leaves_it_and_nothing_else(world: World) -> None:
    world.write(0, [b'{"a": 1}'])
    doomed = world.member(dies_before("positions")).start()
    told = telling(doomed).send_ahead([Outgoing(b"k", ALERT)])
    with pytest.raises(Died):
        doomed.delivery.deliver(Commit({world.partitions[0]: 1}, ahead=told))
    doomed.release()
    after = world.member().start()
    assert world.alerts() == [ALERT]
    assert after.source.committed(world.partitions[0]) is None


def test_what_goes_ahead_of_the_first_record_commits_no_position(world: World) -> None:
    world.write(0, [b'{"a": 1}'])
    member = world.member().start()
    member.delivery.deliver(Commit({}, snapshots={world.partitions[0]: [Outgoing(b"ledger", b"first")]}))
    assert member.source.committed(world.partitions[0]) is None
    assert member.snapshots.load(world.partitions[0]) == {b"ledger": b"first"}
