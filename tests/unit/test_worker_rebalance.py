"""The loop over the memory transport: partitions that are assigned and revoked."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import pytest
from crashing import (
    BUCKETS,
    POLICIES,
    RECORDS,
    ZERO,
    Clock,
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
from anomaly_daemon.daemon.policy import CommitPolicy, SnapshotPolicy
from anomaly_daemon.errors import Evicted, Fenced, Unavailable
from anomaly_daemon.transport.ports import Commit


def test_a_partition_revoked_in_good_order_is_committed_and_flushed_before_it_leaves() -> None:
    broker = filled([("a", 1), ("b", 1), ("a", 1)])
    lazy = replace(POLICIES, commit=CommitPolicy(1e6, 10**6), snapshot=SnapshotPolicy(1e6, BUCKETS))
    one = turned(life(broker, policies=lazy, max_records=1), 4)
    assert broker.positions == {ZERO: 1}
    one.source.revoke([ZERO])
    one.worker.turn()
    assert broker.positions == {ZERO: 3}
    ledger = find_ledger(broker.snapshots[ZERO])
    assert ledger is not None
    assert set(ledger.floors) == {3}
    assert one.worker.progress.running == 0


def test_a_lost_partition_is_dropped_and_nothing_is_delivered_for_it() -> None:
    broker = filled([("a", 1), ("b", 1), ("a", 1)])
    lazy = replace(POLICIES, commit=CommitPolicy(1e6, 10**6))
    one = turned(life(broker, policies=lazy, max_records=1), 3)
    one.source.lose([ZERO])
    one.worker.turn()
    one.worker.finish()
    assert broker.positions == {ZERO: 1}
    assert one.worker.progress.running == 0


def test_a_hand_over_while_the_broker_is_away_leaves_the_rest_to_the_next_owner() -> None:
    broker = filled([("a", 1), ("b", 1), ("a", 150)])
    lazy = replace(POLICIES, commit=CommitPolicy(1e6, 10**6))
    weather = Weather()
    one = turned(weather.over(life(broker, policies=lazy, max_records=1)), 2)
    weather.raising = [Unavailable("no broker")] * 1000
    one.source.revoke([ZERO])
    one.worker.turn()
    assert one.worker.progress.running == 0
    ran(broker)
    assert alerts(broker) == ["readings-0-2-a-pattern/open"]


def test_a_hand_over_that_is_fenced_ends_the_loop() -> None:
    weather = Weather()
    one = turned(weather.over(life(filled([("a", 1)] * 5), max_records=1)), 1)
    weather.raising = [Fenced("gone")] * 9
    one.source.revoke([ZERO])
    with pytest.raises(Fenced):
        one.worker.turn()


def test_a_revocation_from_another_thread_waits_for_the_delivery_under_way() -> None:
    broker = filled([("a", 150), ("a", 1), ("a", 1)])
    one = life(broker, max_records=1)
    inside, order = threading.Event(), []
    inner = one.worker._ports.delivery.deliver

    def deliver(commit: Commit) -> None:
        if not order:
            order.append("delivering")
            revoking.start()
            inside.wait(0.2)
            order.append("delivered")
        inner(commit)

    def revoke() -> None:
        one.worker._members.revoked([ZERO])
        order.append("revoked")
        inside.set()

    one.worker._ports.delivery.deliver = deliver  # type: ignore[method-assign]
    revoking = threading.Thread(target=revoke)
    turned(one, 2)
    revoking.join()
    assert order == ["delivering", "delivered", "revoked"]


def test_a_revocation_that_cannot_have_the_lock_counts_as_lost() -> None:
    broker = filled([("a", 1)] * 5)
    one = turned(life(broker, policies=replace(POLICIES, stop_seconds=0.01), max_records=1), 2)
    revoking = threading.Thread(target=one.worker._members.revoked, args=([ZERO],))
    with one.worker._members.lock:
        revoking.start()
        revoking.join()
        assert one.worker._members.owned
    one.worker.turn()
    assert one.worker.progress.running == 0


def test_a_member_without_partitions_stands_by_and_is_ready() -> None:
    one = turned(life(filled(), partitions=[]), 2)
    assert one.worker.progress.ready
    assert one.worker.progress.running == 0


def test_after_a_failure_closing_delivers_nothing() -> None:
    one = turned(life(filled(), max_records=1), 2)
    before = dict(one.worker._members.owned)
    one.worker._members.abandoned = True
    weather = Weather()
    weather.over(one)
    one.worker._members.revoked([ZERO])
    assert weather.attempts == []
    assert before


def test_a_member_that_is_put_out_drops_what_is_not_committed_and_takes_over_anew() -> None:
    broker = filled(RECORDS)
    weather = Weather()
    one = turned(weather.over(life(broker, max_records=1)), 2)
    weather.raising = [Evicted("forgotten")]
    one.worker.turn()
    assert (one.worker.progress.ready, one.worker.progress.running) == (False, 0)
    assert one.worker.metrics.value("evictions_total") == 1
    one.source.lose([ZERO])
    one.source.assign([ZERO])
    one.worker.run()
    assert alerts(broker) == alerts_of(RECORDS)
    assert broker.positions == {ZERO: len(RECORDS)}


def test_a_member_that_is_put_out_is_not_ready_before_it_is_in_the_group_again() -> None:
    weather = Weather()
    one = turned(weather.over(life(filled(RECORDS), max_records=1, clock=Clock(step=0.6))), 2)
    weather.raising = [Evicted("forgotten")]
    one.worker.turn()
    one.source._pending.clear()  # it has to join first, and the client reports the loss before that
    one.source.lose([ZERO])
    one.worker.turn()
    assert (one.worker.progress.ready, one.worker.progress.joined) == (False, False)
    assert math.isnan(one.worker.metrics.value("lag_records"))
    one.source.assign([])
    one.worker.turn()
    assert one.worker.progress.ready, "another member has the partition by now"
    assert one.worker.metrics.value("lag_records") == 0


def test_a_member_that_is_put_out_as_it_announces_what_is_in_force_takes_over_anew() -> None:
    broker = filled(RECORDS)
    one = turned(Weather([Evicted("forgotten")]).over(life(broker, atomic=False, max_records=1)), 2)
    assert one.worker.metrics.value("evictions_total") == 1
    assert (broker.positions, broker.snapshots) == ({}, {})
    one.source.lose([ZERO])
    one.source.assign([ZERO])
    one.worker.run()
    assert alerts(broker) == alerts_of(RECORDS)
    assert broker.positions == {ZERO: len(RECORDS)}


@pytest.mark.parametrize("atomic", [True, False])
def test_a_member_that_is_refused_though_it_is_in_the_group_takes_over_anew(atomic: bool) -> None:
    """The source then reports nothing by itself, because the group still counts this process as the same member."""
    broker = filled(RECORDS)
    weather = Weather()
    one = turned(weather.over(life(broker, max_records=1, atomic=atomic)), 3)
    weather.raising = [Evicted("refused"), Evicted("refused again")]
    for _ in range(20):
        one.worker.turn()
    one.worker.finish()
    assert one.worker.metrics.value("evictions_total") == 2
    assert broker.positions == {ZERO: len(RECORDS)}
    told = alerts(broker)
    assert (told if atomic else list(dict.fromkeys(told))) == alerts_of(RECORDS)
    assert states(one) == states(ran(filled(RECORDS)))


def test_what_is_anothers_by_now_is_not_taken_over_anew() -> None:
    broker = filled(RECORDS)
    weather = Weather()
    one = turned(weather.over(life(broker, max_records=1)), 2)
    weather.raising = [Evicted("refused")]
    one.worker.turn()
    one.source.lose([ZERO])
    for _ in range(20):
        one.worker.turn()
    assert one.worker.progress.running == 0
    assert broker.positions == {ZERO: 1}


def test_what_was_read_while_put_out_is_not_taken() -> None:
    broker = filled([("a", 150), ("a", 1), ("a", 1)])
    weather = Weather([Evicted("forgotten")])
    one = weather.over(life(broker, max_records=1))
    one.source.start_over = lambda: None  # type: ignore[method-assign] # not yet: it has to join first
    turned(one, 4)
    assert one.worker.progress.running == 0
    assert broker.positions == {}
    assert len(weather.attempts) == 1


def test_a_hand_over_while_put_out_leaves_all_to_the_next_owner() -> None:
    broker = filled([("a", 1), ("b", 1), ("a", 150)])
    lazy = replace(POLICIES, commit=CommitPolicy(1e6, 10**6))
    weather = Weather()
    one = turned(weather.over(life(broker, policies=lazy, max_records=1)), 2)
    weather.raising = [Evicted("forgotten")]
    one.source.revoke([ZERO])
    one.worker.turn()
    assert one.worker.progress.running == 0
    ran(broker)
    assert alerts(broker) == ["readings-0-2-a-pattern/open"]


def test_a_process_that_slept_ends_and_delivers_nothing_more() -> None:
    broker = filled()
    weather = Weather()
    one = turned(weather.over(life(broker, max_records=1)), 2)
    attempts = len(weather.attempts)
    one.worker.fence("asleep")
    with pytest.raises(Fenced, match="asleep"):
        one.worker.turn()
    assert len(weather.attempts) == attempts
