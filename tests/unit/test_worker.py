"""The loop over the memory transport: delivery, and what can be observed of it. Crashes are tested in tests/crash."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crashing import (
    BUCKETS,
    ENDLESS,
    POLICIES,
    RECORDS,
    TOPIC,
    ZERO,
    Clock,
    Life,
    Weather,
    alerts,
    alerts_of,
    filled,
    life,
    ran,
    states,
    turned,
)

from anomaly_daemon.checkpoint.ledger import find_ledger
from anomaly_daemon.checkpoint.snapshot import take_buckets
from anomaly_daemon.daemon.policy import CommitPolicy, RetryPolicy, SnapshotPolicy
from anomaly_daemon.errors import Fenced, Unavailable
from anomaly_daemon.transport.memory import MemoryBroker, Stored
from anomaly_daemon.transport.ports import Commit


def test_what_is_unavailable_is_tried_again_with_the_same_commit() -> None:
    broker = filled()
    weather = Weather([Unavailable("no broker")] * 3)
    one = weather.over(life(broker))
    one.worker.run()
    first, *again = weather.attempts[:4]
    assert all(commit is first for commit in again)
    assert one.worker.metrics.value("commits_total", outcome="unavailable") == 3
    assert alerts(broker) == alerts_of(RECORDS)


def test_what_stays_unavailable_ends_the_loop_within_the_retry_limit() -> None:
    broker = filled()
    clock = Clock()
    waits: list[float] = []
    one = Weather([Unavailable("no broker")] * 10_000).over(
        life(broker, clock=clock, policies=replace(POLICIES, retry=RetryPolicy(20.0)), wait=waits.append)
    )
    with pytest.raises(Unavailable):
        one.worker.run()
    assert waits[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert clock.now < 1000.0 + 20.0 + 5.0
    assert alerts(broker) == []


def test_the_loop_is_not_idle_within_the_deadline_of_a_call_to_the_broker() -> None:
    clock, seen = Clock(), []
    one = life(filled(), clock=clock)
    inner = one.worker._ports.delivery.deliver

    def deliver(commit: Commit) -> None:
        clock.now += 100.0
        seen.append(clock.now - one.worker.idle_since(clock.now))
        clock.now += 100.0
        seen.append(clock.now - one.worker.idle_since(clock.now))
        inner(commit)

    one.worker._ports.delivery.deliver = deliver  # type: ignore[method-assign]
    turned(one, 2)
    assert seen[0] == 0.0
    assert seen[1] > 199.0


def test_the_loop_counts_as_turning_while_it_waits_for_the_broker() -> None:
    clock, turned_at = Clock(), []
    weather = Weather([Unavailable("no broker")] * 5)
    one = weather.over(life(filled(), clock=clock, wait=lambda seconds: turned_at.append(one.worker.last_turn)))
    one.worker.run()
    assert turned_at == sorted(set(turned_at))


def test_nothing_is_forgotten_before_it_is_visible() -> None:
    one = life(filled([("a", 1), ("a", 150), ("a", -1)]), max_records=100)
    inner, held = one.worker._ports.delivery.deliver, []

    def deliver(commit: Commit) -> None:
        (owned,) = one.worker._members.owned.values()
        held.append((owned.committed, len(owned.pending.alerts), len(owned.pending.dead_letters), len(owned.dirty)))
        inner(commit)

    one.worker._ports.delivery.deliver = deliver  # type: ignore[method-assign]
    one.worker.run()
    assert held[0] == (0, 1, 1, 1)
    (owned,) = one.worker._members.owned.values()
    assert (owned.committed, owned.pending.alerts, owned.dirty) == (3, [], set())


@pytest.mark.parametrize(("atomic", "committed"), [(True, 2), (False, None)])
def test_an_alert_waits_for_no_commit_unless_it_is_one_transaction_with_it(atomic: bool, committed: int | None) -> None:
    broker = filled([("a", 1), ("a", 150)])
    patient = replace(ENDLESS, commit=CommitPolicy(1e6, 10**6))
    one = turned(life(broker, policies=patient, atomic=atomic, finite=False, clock=Clock(step=1e-6)), 2)
    one.worker._committer._last = 1000.0
    broker.produce(ZERO, [Stored(9, b"b", b"150")])
    one.worker.turn()
    assert "readings-0-2-b-pattern/open" in alerts(broker)
    assert (broker.positions[ZERO] > 2) == (committed is not None)
    one.worker.finish()
    assert broker.positions[ZERO] == 3
    assert alerts(broker) == ["readings-0-1-a-pattern/open", "readings-0-2-b-pattern/open"]


def test_a_fenced_member_ends_at_once_and_delivers_nothing_more() -> None:
    broker = filled()
    weather = Weather([Fenced("another has taken our place")] * 9)
    with pytest.raises(Fenced):
        weather.over(life(broker)).worker.run()
    assert len(weather.attempts) == 1


def test_a_stop_ends_the_waiting_for_the_broker() -> None:
    one = Weather([Unavailable("no broker")] * 10_000).over(
        life(filled(), policies=replace(POLICIES, stop_seconds=0.0), wait=lambda seconds: one.worker.stop())
    )
    with pytest.raises(Unavailable):
        one.worker.run()


def test_an_alert_is_committed_in_the_turn_it_arose() -> None:
    slow = replace(POLICIES, commit=CommitPolicy(1e6, 10**6))
    broker = filled([("a", 1), ("a", 150), ("a", 1)])
    one = life(broker, policies=slow, max_records=1)
    turned(one, 2)
    assert broker.positions == {ZERO: 1}  # the first commit of a partition that was never read before
    one.worker.turn()
    assert (alerts(broker), broker.positions) == (["readings-0-1-a-pattern/open"], {ZERO: 2})
    broker.produce(ZERO, [Stored(9, b"a", b"1")])


def test_positions_move_past_control_records() -> None:
    broker = filled([("a", 1)])
    broker.control_record(ZERO)
    ran(broker)
    assert broker.positions == {ZERO: 2}


def test_a_stop_flushes_all_of_the_state() -> None:
    broker = filled([(name, 1) for name in "abcdefgh"], 1)
    one = turned(life(broker, policies=replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS)), max_records=100))
    before = find_ledger(broker.snapshots[ZERO])
    assert before is not None
    assert min(before.floors) == 0
    one.worker.finish()
    after = find_ledger(broker.snapshots[ZERO])
    assert after is not None
    assert set(after.floors) == {8}
    keys = [key for bucket in take_buckets(dict(broker.snapshots[ZERO]), BUCKETS) for key in bucket.state.keys]
    assert sorted(keys) == list("abcdefgh")


def test_a_flush_stops_at_its_deadline_and_what_it_left_is_replayed() -> None:
    broker = filled([(f"{name}", 1) for name in range(40)], 1)
    many = replace(POLICIES, snapshot=SnapshotPolicy(1e6, 32), stop_seconds=0.0)
    one = turned(life(broker, policies=many, max_records=100))
    one.worker.finish()
    ledger = find_ledger(broker.snapshots[ZERO])
    assert ledger is not None
    assert set(ledger.floors) == {0, 40}
    assert states(ran(broker, policies=many)) == states(one)


def test_every_changed_bucket_is_written_within_the_period() -> None:
    clock = Clock(step=0.0)
    broker = MemoryBroker()
    broker.create(TOPIC)
    rolling = replace(ENDLESS, snapshot=SnapshotPolicy(10.0, BUCKETS))
    one = life(broker, clock=clock, finite=False, policies=rolling, max_records=100)
    one.worker.start()
    written: dict[int, int] = dict.fromkeys(range(BUCKETS), 0)
    for at in range(120):
        broker.produce(ZERO, [Stored(at, name.encode(), b"1") for name in "abcdefgh"])
        clock.now += 0.5
        one.worker.turn()
        ledger = find_ledger(broker.snapshots.get(ZERO, {}))
        for bucket, floor in enumerate(ledger.floors if ledger else ()):
            assert broker.end(ZERO) - floor <= 8 * (10.0 / 0.5 + 2)
            written[bucket] += floor == broker.positions[ZERO]
    assert min(written.values()) >= 5
    assert one.worker.metrics.value("snapshots_total") < 120


def written_by(one: Life) -> list[int]:
    """Return a list that gets the number of buckets in each commit from now on."""
    sizes: list[int] = []
    inner = one.worker._ports.delivery.deliver

    def deliver(commit: Commit) -> None:
        sizes.append(sum(record.key.startswith(b"bucket/") for kept in commit.snapshots.values() for record in kept))
        inner(commit)

    one.worker._ports.delivery.deliver = deliver  # type: ignore[method-assign]
    return sizes


def test_buckets_that_fall_due_while_a_commit_is_on_its_way_are_in_the_next() -> None:
    broker, clock = MemoryBroker(), Clock(step=0.0)
    broker.create(TOPIC)
    one = life(broker, clock=clock, finite=False, policies=replace(ENDLESS, snapshot=SnapshotPolicy(10.0, 16)))
    inner = one.worker._ports.delivery.deliver

    def slowly(commit: Commit) -> None:
        inner(commit)
        clock.now += 1.3

    one.worker._ports.delivery.deliver = slowly  # type: ignore[method-assign]
    one.worker.start()
    began: dict[int, float] = {}
    for at in range(200):
        broker.produce(ZERO, [Stored(at, b"%d" % stream, b"1") for stream in range(60)])
        clock.now += 0.5
        one.worker.turn()
        owned = one.worker._members.owned.get(ZERO)
        if owned is not None:
            began[owned.position] = clock.now
            oldest = min(began.get(floor, began[min(began)]) for floor in owned.floors)
            assert clock.now - oldest < 10.0 + 2 * (1.3 + 0.5)


def test_after_a_long_replay_the_state_goes_out_in_parts() -> None:
    broker, clock = MemoryBroker(), Clock(step=0.0)
    broker.create(TOPIC)
    broker.produce(ZERO, [Stored(at, b"%d" % at, b"1") for at in range(200)])
    lazy = replace(ENDLESS, snapshot=SnapshotPolicy(1e6, 32))
    turned(life(broker, clock=clock, finite=False, policies=lazy, max_records=200))
    assert broker.positions == {ZERO: 200}
    rolling = replace(ENDLESS, snapshot=SnapshotPolicy(10.0, 32))
    one = life(broker, clock=clock, finite=False, policies=rolling, max_records=20)
    sizes = written_by(one)
    one.worker.start()
    for _ in range(9):  # a replay that takes as long as five periods
        clock.now += 6.0
        one.worker.turn()
    assert sizes == []
    for at in range(6):
        broker.produce(ZERO, [Stored(at, b"1", b"1")])
        clock.now += 0.5
        one.worker.turn()
    assert max(sizes) == 8
    assert sum(sizes) >= 32


def test_without_snapshots_none_are_written() -> None:
    broker = filled()
    ran(broker, snapshots=False)
    assert broker.snapshots == {}
    assert broker.positions == {ZERO: 5}


def test_the_gauges_say_how_things_stand() -> None:
    broker = filled([("a", 1), ("b", 150), ("a", -1)])
    one = life(broker, clock=Clock(step=0.6), finite=False, policies=ENDLESS)
    turned(one, 5)
    value = one.worker.metrics.value
    assert value("streams") == 2
    assert value("episodes_open", kind="pattern") == 1
    assert value("realised_alarms_per_stream_day") == 0.5
    assert value("lag_records") == 0
    assert value("partitions", state="running") == 1
    assert value("ready") == 1
    assert (value("records_total"), value("observations_total")) == (3, 2)
    assert value("alerts_total", kind="pattern", event="open") == 1
    assert value("commits_total", outcome="committed") == value("commit_seconds") > 0


def test_streams_past_the_limit_are_dropped_and_counted() -> None:
    broker = filled([(name, 1) for name in "abcd"])
    one = life(broker, clock=Clock(step=5.0), finite=False, policies=ENDLESS, max_records=100)
    turned(one, 2)
    one.detectors[ZERO].max_streams = 4
    broker.produce(ZERO, [Stored(9, name.encode(), b"1") for name in "ef"])
    for _ in range(3):
        one.worker.turn()
    assert one.worker.metrics.value("streams_evicted_total", reason="limit") == 2
    assert one.worker.metrics.value("streams_evicted_total", reason="idle") == 0
    assert one.worker.metrics.value("streams") == 4
