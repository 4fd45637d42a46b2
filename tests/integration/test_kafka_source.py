"""`KafkaSource` on Apache Kafka."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from daemon_process import recreate
from kafka.structs import MemberState

from anomaly_daemon.errors import Evicted, Incompatible
from anomaly_daemon.settings import SourceSettings
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.kafka.source import KafkaSource
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition

pytestmark = pytest.mark.kafka


def test_records_come_back_as_columns(rig: Any, polling: Any) -> None:
    rig.produce(b"one", b"", None)
    source, told = rig.source()

    batches = polling([source], lambda found: sum(map(len, found)) >= 3)

    partition = Partition(rig.input, 0)
    assert told.events == [("assigned", (partition,))]
    assert [value for batch in batches for value in batch.values] == [b"one", b"", None]
    assert [offset for batch in batches for offset in batch.offsets.tolist()] == [0, 1, 2]
    assert {key for batch in batches for key in batch.keys} == {b"k"}
    assert all(batch.partition == partition for batch in batches)
    assert batches[-1].next_offset == 3
    assert all(timestamp > 1_600_000_000_000_000 for batch in batches for timestamp in batch.timestamps.tolist())


def test_nothing_comes_from_a_partition_before_it_is_resumed(rig: Any, polling: Any) -> None:
    rig.produce(b"one")
    source, told = rig.source()
    told.assigned = lambda partitions: told.owned.update(partitions)

    assert polling([source], lambda _: bool(told.owned)) == []
    assert source.poll(0.2) == []

    source.seek(Partition(rig.input, 0), 0)
    source.resume([Partition(rig.input, 0)])
    assert polling([source], lambda found: len(found) == 1)[0].values == [b"one"]


def test_the_loop_is_told_of_assignments_on_its_own_thread(rig: Any, polling: Any) -> None:
    source, told = rig.source()
    threads = []
    told.assigned = lambda partitions: threads.append(threading.current_thread())

    polling([source], lambda _: bool(threads))

    assert threads == [threading.current_thread()]


def test_seek_goes_back_and_forth_and_ignores_partitions_that_are_not_ours(rig: Any, polling: Any) -> None:
    rig.produce(b"one", b"two")
    source, _ = rig.source()
    polling([source], lambda found: sum(map(len, found)) >= 2)

    source.seek(Partition(rig.input, 0), 1)
    source.seek(Partition(rig.input, 7), 1)
    source.pause([Partition(rig.input, 7)])
    source.resume([Partition(rig.input, 7)])

    assert polling([source], lambda found: len(found) == 1)[0].values == [b"two"]


def test_lag_counts_what_is_left_and_markers_do_not_add_to_it(rig: Any, polling: Any) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap, transactional_id=rig.group)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(rig.input, b"one", b"k", partition=0)
    producer.commit_transaction()
    producer.close()
    source, _ = rig.source()

    polling([source], lambda found: len(found) == 1)
    polling([source], lambda _: source.lag() == {Partition(rig.input, 0): 0})


def test_in_a_backlog_the_end_of_every_partition_is_heard_with_the_first_records(rigs: Any) -> None:
    """The client reads one partition after the other, and used to look at a partition's fetch response only when its
    turn came."""
    rig = rigs(4)
    for number in range(4):
        rig.produce(*[b"some value"] * 300, partition=number)
    source, _ = rig.source(max_poll_records=100)
    heard: dict[Partition, int] = {}
    deadline, read = time.monotonic() + 30.0, 0
    while not read:
        assert time.monotonic() < deadline
        read = sum(map(len, source.poll(0.2)))
        heard |= source.lag()
    assert (read, sorted(heard.values())) == (100, [200, 300, 300, 300])


def test_what_is_not_heard_of_a_broker_that_hangs_is_not_known(broker_script: Any, rig_on: Any, polling: Any) -> None:
    with broker_script.Broker() as broker:
        rig = rig_on(broker.bootstrap)
        rig.produce(b"one")
        source, _ = rig.source()
        partition = Partition(rig.input, 0)
        polling([source], bool)
        polling([source], lambda _: source.lag() == {partition: 0})
        broker.pause()
        source.poll(1.0)
        source.lag()  # takes the response that was already on its way
        for _ in range(10):
            source.poll(0.2)
            assert source.lag() == {}
        broker.resume()
        polling([source], lambda _: source.lag() == {partition: 0})
        rig.close()


def test_a_member_that_starts_over_though_the_group_has_it_is_the_same_member(rig: Any, polling: Any) -> None:
    rig.produce(b"one")
    source, told = rig.source()
    polling([source], bool)
    before = source.membership()

    source.start_over()

    assert polling([source], bool)[0].values == [b"one"]
    partition = (Partition(rig.input, 0),)
    assert told.events == [("assigned", partition), ("lost", partition), ("assigned", partition)]
    assert source.membership().member_id == before.member_id


def test_a_member_that_starts_over_after_it_was_put_out_is_told_of_it_once(rig: Any, polling: Any) -> None:
    from kafka import KafkaAdminClient

    source, told = rig.source(group_instance_id="one")
    polling([source], lambda _: bool(told.owned))
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    (member,) = admin.describe_groups([rig.group])[rig.group]["members"]
    admin.remove_group_members(rig.group, [_leaver(member["member_id"])])
    admin.close()
    _wait_until_put_out(source)

    source.start_over()

    polling([source], lambda _: [name for name, _ in told.events] == ["assigned", "lost", "assigned"])
    for _ in range(20):
        source.poll(0.05)
    assert [name for name, _ in told.events] == ["assigned", "lost", "assigned"]


def test_where_to_begin_follows_the_setting(rig: Any) -> None:
    rig.produce(b"one", b"two")
    partition = Partition(rig.input, 0)
    early, _ = rig.source()
    late = KafkaSource(rig.kafka(), SourceSettings(topic=rig.input, start="latest"))

    assert (early.start_offset(partition), early.beginning(partition), late.start_offset(partition)) == (0, 0, 2)
    assert early.committed(partition) is None
    assert not early.exhausted()
    late.close()


def test_a_second_member_takes_over_after_the_first_has_delivered_what_was_pending(rigs: Any, polling: Any) -> None:
    rig = rigs(2)
    for number in range(2):
        rig.produce(b"one", b"two", partition=number)
    first, told = rig.source()
    polling([first], lambda found: sum(map(len, found)) >= 4)
    delivery = rig.delivery(first)
    told.on_revoked = lambda gone: delivery.deliver(Commit(dict.fromkeys(gone, 2)))

    second, also_told = rig.source()
    late = polling([first, second], lambda _: len(also_told.owned) == 1 and len(told.owned) == 1)

    (moved,) = also_told.owned
    assert ("revoked", (moved,)) in told.events
    assert told.owned == {Partition(rig.input, 0), Partition(rig.input, 1)} - {moved}
    assert second.committed(moved) == 2, "committed by the first, in the group's new generation"
    assert late == [], "neither reads again what the first has delivered"


def test_the_member_that_stays_may_commit_while_the_group_moves_on(rigs: Any, polling: Any) -> None:
    rig = rigs(2)
    first, told = rig.source()
    polling([first], lambda _: len(told.owned) == 2)
    delivery = rig.delivery(first)
    before = first.membership().generation_id
    second, also_told = rig.source()
    polling([first, second], lambda _: len(also_told.owned) == 1)

    (kept,) = told.owned
    delivery.deliver(Commit({kept: 1}))

    assert first.membership().generation_id > before
    assert second.committed(kept) == 1


def test_a_partition_that_stays_is_read_while_a_rebalance_waits_for_a_member_that_hangs(
    rigs: Any, polling: Any
) -> None:
    rig = rigs(3)
    first, told = rig.source()
    hanging, also_told = rig.source()
    polling([first, hanging], lambda _: told.owned and also_told.owned and len(told.owned | also_told.owned) == 3)
    third, told_too = rig.source()
    polling([first, third], lambda _: third._consumer.group_metadata().state == MemberState.REBALANCING)
    kept = min(told.owned)
    delivery = rig.delivery(first)

    for number in range(3):
        rig.produce(b"%d" % number, partition=kept.partition)
        (batch,) = polling([first, third], bool)
        assert batch.values == [b"%d" % number]
        delivery.deliver(Commit({kept: batch.next_offset}))

    assert told_too.owned == set(), "the group is still waiting"
    assert rig.position(kept.partition) == 3
    polling([first, hanging, third], lambda _: [len(each.owned) for each in (told, also_told, told_too)] == [1, 1, 1])


def test_a_join_that_is_answered_between_two_polls_is_not_asked_for_again(rigs: Any, polling: Any) -> None:
    """A loop that works for a long time between its polls would never get into the group, and as the leader it would
    let no other member in."""
    rig = rigs(2)
    first, told = rig.source()
    polling([first], lambda _: len(told.owned) == 2)
    joins, inner = [], first._consumer._coordinator._process_join_group_response

    def counted(answer: Any, *arguments: Any) -> Any:
        if answer.error_code == 0:  # a refused member (for example one that the group no longer has) must join again
            joins.append(answer)
        return inner(answer, *arguments)

    first._consumer._coordinator._process_join_group_response = counted
    second, also_told = rig.source()
    deadline = time.monotonic() + 30.0
    while not (len(told.owned) == len(also_told.owned) == 1):
        assert time.monotonic() < deadline
        first.poll(0.0)
        second.poll(0.1)
        time.sleep(0.3)  # simulates work between polls
    # One join for giving up a partition and one for moving it; a slow machine may need another round. If the join were
    # requested again at every poll, there would be dozens of them, and the rebalance would never end.
    assert len(joins) <= 5


@pytest.mark.parametrize("known", [False, True], ids=["before the next heartbeat", "after it"])
def test_a_member_the_group_has_put_out_hears_that_its_partitions_are_lost(known: bool, rig: Any, polling: Any) -> None:
    """Before the next heartbeat the broker refuses the offsets. After it the client has no generation any more, and
    offsets without one are accepted from anybody while the group is empty: the source itself must refuse."""
    from kafka import KafkaAdminClient

    source, told = rig.source(group_instance_id="one")
    polling([source], lambda _: bool(told.owned))
    delivery = rig.delivery(source)
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    (member,) = admin.describe_groups([rig.group])[rig.group]["members"]
    admin.remove_group_members(rig.group, [_leaver(member["member_id"])])
    admin.close()
    if known:
        _wait_until_put_out(source)

    with pytest.raises(Evicted):
        delivery.deliver(Commit({Partition(rig.input, 0): 9}, alerts=[Outgoing(b"k", b"late")]))

    polling([source], lambda _: [name for name, _ in told.events] == ["assigned", "lost", "assigned"])
    assert rig.visible(rig.sink.alerts_topic) == []
    assert rig.position() is None


def test_a_member_that_was_replaced_without_being_told_starts_over(rig: Any, polling: Any) -> None:
    """When the group removes a member in the middle of a rejoin, the client silently rejoins as another member."""
    rig.produce(b"one")
    source, told = rig.source()
    polling([source], lambda found: bool(found))
    source._member_id = "who-we-were"

    polling([source], lambda _: len(told.events) == 3)

    partition = (Partition(rig.input, 0),)
    assert told.events == [("assigned", partition), ("lost", partition), ("assigned", partition)]


def test_a_member_without_partitions_is_told_that_it_has_none(rig: Any, polling: Any) -> None:
    first, told = rig.source()
    polling([first], lambda _: bool(told.owned))
    second, also_told = rig.source()
    polling([first, second], lambda _: also_told.events == [("assigned", ())])


def test_a_member_that_lost_its_partition_to_another_is_told_that_it_has_none(rig: Any, polling: Any) -> None:
    from kafka import KafkaAdminClient

    first, told = rig.source(group_instance_id="one")
    polling([first], lambda _: bool(told.owned))
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    (member,) = admin.describe_groups([rig.group])[rig.group]["members"]
    admin.remove_group_members(rig.group, [_leaver(member["member_id"])])
    admin.close()
    second, also_told = rig.source()
    polling([second], lambda _: bool(also_told.owned))
    first.start_over()

    polling([first, second], lambda _: len(told.events) == 3)

    partition = (Partition(rig.input, 0),)
    assert told.events == [("assigned", partition), ("lost", partition), ("assigned", ())]


def _wait_until_put_out(source: KafkaSource) -> None:
    """Wait for the heartbeat whose answer tells the client of its removal."""
    deadline = time.monotonic() + 30.0
    while source._consumer.group_metadata().generation_id >= 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _leaver(member_id: str) -> Any:
    from kafka.admin._groups import MemberToRemove

    return MemberToRemove(member_id=member_id, group_instance_id="one")


def test_a_partition_that_retention_has_overtaken_is_taken_over_anew(rig: Any, polling: Any) -> None:
    from kafka import KafkaAdminClient, TopicPartition

    rig.produce(b"one", b"two", b"three")
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    admin.delete_records({TopicPartition(rig.input, 0): 2})
    admin.close()
    source, told = rig.source()
    polling([source], lambda _: bool(told.owned))
    source.seek(Partition(rig.input, 0), 0)

    assert polling([source], lambda found: bool(found))[0].values == [b"three"]
    assert [name for name, _ in told.events] == ["assigned", "lost", "assigned"]


def test_an_offset_that_the_topic_does_not_reach_is_refused(rig: Any, polling: Any) -> None:
    rig.produce(b"one")
    source, told = rig.source()
    polling([source], lambda _: bool(told.owned))
    source.seek(Partition(rig.input, 0), 7)

    with pytest.raises(
        Incompatible, match="has no offset 7 yet, and begins at 0: the topic was recreated or truncated"
    ):
        polling([source], lambda found: bool(found))


def test_a_topic_that_is_recreated_while_it_is_read_is_refused_however_long_it_is(rig: Any, polling: Any) -> None:
    """The client goes on at its position in the former topic until it notices, which takes it half a minute at most. The
    records before that position used to be skipped unseen."""
    rig.produce(b"one", b"two")
    source, _ = rig.source()
    polling([source], lambda found: sum(map(len, found)) == 2)
    recreate(rig.broker.bootstrap, rig.input)
    rig.produce(*(b"new" for _ in range(10)))
    source._consumer._cluster.request_update()
    with pytest.raises(Incompatible, match=r"was recreated since.*kafka\.group_id and snapshot\.topic"):
        polling([source], lambda _: False)


def test_a_topic_that_grew_is_refused(rig: Any, polling: Any) -> None:
    from kafka import KafkaAdminClient

    source, told = rig.source()
    polling([source], lambda _: bool(told.owned))
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=rig.broker.bootstrap)
    admin.create_partitions({rig.input: 2})
    admin.close()

    again, _ = rig.source(group_id=f"{rig.group}-again")
    again._partitions = 1  # as it was when the daemon started
    with pytest.raises(Incompatible, match="has grown from 1 partitions"):
        polling([again], lambda _: False)


def test_a_topic_that_is_not_there_is_refused_at_once(rig: Any) -> None:
    source = KafkaSource(rig.kafka(), SourceSettings(topic="no-such-topic"))
    with pytest.raises(Incompatible, match="'no-such-topic' does not exist"):
        source.subscribe(None)  # type: ignore[arg-type]
