"""What the daemon may rely on from every delivery and snapshot store: a commit becomes visible as a whole, or not at
all."""

from __future__ import annotations

import pytest
from worlds import Died, Member, World, dies_before

from anomaly_daemon.transport.ports import Commit, Outgoing
from anomaly_daemon.transport.steps import STEPS


def started(world: World) -> Member:
    world.write(0, [b'{"a": 1}'] * 3)
    return world.member().start()


def full(world: World, name: bytes, position: int = 1) -> Commit:
    """Return a commit of an alert, a dead letter, a snapshot and a position. `name` distinguishes its content from that
    of others."""
    partition = world.partitions[0]
    return Commit(
        {partition: position},
        [Outgoing(b"k", b'{"alert": "' + name + b'"}')],
        [Outgoing(b"k", b"\xff")],
        {partition: [Outgoing(b"bucket", name)]},
    )


def test_everything_of_a_commit_is_seen(world: World) -> None:
    member = started(world)
    member.delivery.deliver(full(world, b"one"))
    assert world.alerts() == [b'{"alert": "one"}']
    assert world.dead_letters() == 1
    assert member.source.committed(world.partitions[0]) == 1
    assert member.snapshots.load(world.partitions[0]) == {b"bucket": b"one"}


@pytest.mark.parametrize("step", STEPS[:-1])
def test_after_a_death_before_the_commit_nothing_of_it_is_there(world: World, step: str) -> None:
    first = started(world)
    first.delivery.deliver(full(world, b"one"))
    first.close()
    doomed = world.member(dies_before(step)).start()
    with pytest.raises(Died):
        doomed.delivery.deliver(full(world, b"two", 2))
    doomed.release()

    after = world.member().start()
    assert world.alerts() == [b'{"alert": "one"}']
    assert world.dead_letters() == 1
    assert after.source.committed(world.partitions[0]) == 1
    assert after.snapshots.load(world.partitions[0]) == {b"bucket": b"one"}
    after.delivery.deliver(full(world, b"two", 2))
    assert world.alerts() == [b'{"alert": "one"}', b'{"alert": "two"}']


def test_after_a_death_in_the_first_commit_of_all_nothing_of_it_is_there(world: World) -> None:
    world.write(0, [b'{"a": 1}'])
    doomed = world.member(dies_before("commit")).start()
    with pytest.raises(Died):
        doomed.delivery.deliver(full(world, b"one"))
    doomed.release()
    after = world.member().start()
    assert world.alerts() == []
    assert after.source.committed(world.partitions[0]) is None
    assert after.snapshots.load(world.partitions[0]) == {}


def test_after_a_death_past_the_commit_all_of_it_is_there_once(world: World) -> None:
    world.write(0, [b'{"a": 1}'])
    doomed = world.member(dies_before("reply")).start()
    with pytest.raises(Died):
        doomed.delivery.deliver(full(world, b"one"))
    doomed.release()
    after = world.member().start()
    assert world.alerts() == [b'{"alert": "one"}']
    assert after.source.committed(world.partitions[0]) == 1
    assert after.snapshots.load(world.partitions[0]) == {b"bucket": b"one"}


def test_a_partition_that_a_commit_does_not_name_keeps_its_position(world: World) -> None:
    member = started(world)
    world.write(1, [b'{"a": 1}'])
    member.delivery.deliver(Commit({world.partitions[0]: 2}))
    member.delivery.deliver(Commit({world.partitions[1]: 1}))
    assert [member.source.committed(partition) for partition in world.partitions] == [2, 1]


def test_of_each_snapshot_the_newest_is_loaded_and_a_null_removes_it(world: World) -> None:
    member = started(world)
    one, other = world.partitions
    for content in ({one: [Outgoing(b"x", b"1"), Outgoing(b"y", b"1")]}, {other: [Outgoing(b"x", b"elsewhere")]}):
        member.delivery.deliver(Commit({one: 1}, snapshots=content))
    assert member.snapshots.load(one) == {b"x": b"1", b"y": b"1"}
    member.delivery.deliver(Commit({one: 2}, snapshots={one: [Outgoing(b"x", b"2"), Outgoing(b"y", None)]}))
    assert member.snapshots.load(one) == {b"x": b"2"}
    assert member.snapshots.load(other) == {b"x": b"elsewhere"}


def test_there_are_no_snapshots_at_first(world: World) -> None:
    member = started(world)
    assert member.snapshots.load(world.partitions[1]) == {}
