"""What the daemon may rely on from every source."""

from __future__ import annotations

import pytest
from worlds import FilesWorld, World

from anomaly_daemon.transport.ports import Commit, Partition

VALUES = [b'{"a": %d}' % number for number in range(5)]


def test_partitions_are_assigned_by_a_poll_and_give_nothing_before_they_are_resumed(world: World) -> None:
    world.write(0, VALUES)
    member = world.member().join()
    assert sorted(member.told.assigned_to_us) == world.partitions
    assert member.source.poll(0.05) == []
    assert not member.source.exhausted()


def test_records_come_in_order_as_columns_of_one_length(world: World) -> None:
    world.write(0, VALUES)
    member = world.member().start()
    batches = member.read(len(VALUES))
    assert [value for batch in batches for value in batch.values] == VALUES
    for batch in batches:
        assert batch.partition == world.partitions[0]
        columns = (batch.offsets, batch.timestamps, batch.keys, batch.values, batch.headers)
        assert {len(column) for column in columns} == {len(batch)}
        assert batch.offsets[-1] < batch.next_offset
    offsets = [offset for batch in batches for offset in batch.offsets.tolist()]
    assert offsets == sorted(set(offsets))


def test_every_partition_is_read(world: World) -> None:
    world.write(0, VALUES[:2])
    world.write(1, VALUES[2:])
    member = world.member().start()
    found: dict[Partition, list[bytes | None]] = {}
    for batch in member.read(len(VALUES)):
        found.setdefault(batch.partition, []).extend(batch.values)
    assert found == {world.partitions[0]: VALUES[:2], world.partitions[1]: VALUES[2:]}


def test_a_poll_with_nothing_left_is_empty_and_nothing_lags(world: World) -> None:
    world.write(0, VALUES)
    member = world.member().start()
    member.read(len(VALUES))
    assert member.source.poll(0.05) == []
    assert set(member.source.lag().values()) <= {0}


def test_seek_reads_again_what_was_read(world: World) -> None:
    world.write(0, VALUES)
    member = world.member().start()
    first = member.read(len(VALUES))
    offsets = [offset for batch in first for offset in batch.offsets.tolist()]
    member.source.seek(world.partitions[0], offsets[2])
    again = member.read(3)
    assert [offset for batch in again for offset in batch.offsets.tolist()] == offsets[2:]
    assert [value for batch in again for value in batch.values] == VALUES[2:]


def test_a_paused_partition_gives_nothing_and_loses_nothing(world: World) -> None:
    world.write(0, VALUES)
    world.write(1, VALUES[:1])
    member = world.member().start()
    member.source.pause([world.partitions[0]])
    assert {batch.partition for batch in member.read(1)} == {world.partitions[1]}
    assert member.source.poll(0.05) == []
    member.source.resume([world.partitions[0]])
    assert [value for batch in member.read(len(VALUES)) for value in batch.values] == VALUES


def test_who_starts_over_has_its_partitions_assigned_anew_and_gives_nothing_before_they_are_resumed(
    world: World,
) -> None:
    if isinstance(world, FilesWorld):
        pytest.skip("nobody is put out of files")
    world.write(0, VALUES)
    member = world.member().start()
    member.read(len(VALUES))
    member.source.start_over()
    world.write(0, VALUES)
    for _ in range(20):
        assert member.source.poll(0.05) == []
    assert sorted(member.told.lost_or_revoked) == world.partitions
    assert sorted(member.told.assigned_to_us) == sorted(world.partitions * 2)
    member.source.seek(world.partitions[0], 0)
    member.source.resume(world.partitions)
    assert [value for batch in member.read(2 * len(VALUES)) for value in batch.values] == 2 * VALUES
    member.delivery.deliver(Commit({world.partitions[0]: 3}))


def test_the_end_of_a_partition_without_records_is_heard_again_and_again(world: World) -> None:
    world.write(0, VALUES)
    member = world.member().start()
    member.read(len(VALUES))
    heard = 0
    for _ in range(100):
        member.source.poll(0.05)
        heard += world.partitions[0] in member.source.lag()
    assert heard >= 4
    member.source.seek(world.partitions[0], 0)
    assert member.source.lag().get(world.partitions[0]) != 0


def test_a_partition_that_is_not_ours_is_left_alone(world: World) -> None:
    world.write(0, VALUES)
    member = world.member().start()
    foreign = Partition("elsewhere", 9)
    member.source.seek(foreign, 3)
    member.source.pause([foreign])
    member.source.resume([foreign])
    assert [value for batch in member.read(len(VALUES)) for value in batch.values] == VALUES


def test_nothing_is_committed_at_first_and_reading_starts_at_the_beginning(world: World) -> None:
    world.write(0, VALUES)
    member = world.member().join()
    for partition in world.partitions:
        assert member.source.committed(partition) is None
        assert member.source.start_offset(partition) == member.source.beginning(partition) == 0


def test_the_next_life_goes_on_where_the_last_committed(world: World) -> None:
    world.write(0, VALUES)
    first = world.member().start()
    offsets = [offset for batch in first.read(len(VALUES)) for offset in batch.offsets.tolist()]
    first.delivery.deliver(Commit({world.partitions[0]: offsets[3]}))
    first.close()
    second = world.member().start()
    assert second.source.committed(world.partitions[0]) == offsets[3]
    assert second.source.committed(world.partitions[1]) is None
    assert [value for batch in second.read(2) for value in batch.values] == VALUES[3:]
