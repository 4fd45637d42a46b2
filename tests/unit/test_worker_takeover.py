"""The loop over the memory transport: the source of a partition's state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
import running_sum
import structlog
from crashing import (
    BUCKETS,
    ENDLESS,
    POLICIES,
    RECORDS,
    TOPIC,
    ZERO,
    Clock,
    alerts,
    alerts_of,
    fill,
    filled,
    life,
    ran,
    states,
    turned,
)
from structlog.testing import capture_logs

from anomaly_daemon.checkpoint.ledger import find_ledger
from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.detection.detector import Exported
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.memory import MemorySnapshots, Stored
from anomaly_daemon.transport.ports import Partition


def test_a_restart_goes_on_where_it_stopped_and_tells_nothing_twice() -> None:
    broker = filled(RECORDS)
    first = ran(broker)
    second = ran(broker)
    assert states(second) == states(first)
    assert alerts(broker) == alerts_of(RECORDS)
    assert second.worker.metrics.value("records_total") == 0
    assert second.worker.metrics.value("restores_total", outcome="restored") == 1


def test_what_was_read_of_a_partition_is_let_go_of_as_its_state_takes_it_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a large state would be held three times: as bytes, decoded, and in the slab."""
    broker, found, restored = filled(RECORDS), list[dict[bytes, bytes]](), list[Exported]()
    ran(broker)
    load, restore = MemorySnapshots.load, running_sum.RunningSum.restore

    def loading(store: MemorySnapshots, partition: Partition) -> dict[bytes, bytes]:
        found.append(load(store, partition))
        return found[-1]

    def restoring(detector: running_sum.RunningSum, state: Exported) -> tuple[str, ...]:
        assert state.arrays
        restored.append(state)
        return restore(detector, state)

    monkeypatch.setattr(MemorySnapshots, "load", loading)
    monkeypatch.setattr(running_sum.RunningSum, "restore", restoring)
    ran(broker)
    assert [key for key in found[0] if key.startswith(b"bucket")] == []
    assert restored
    assert not any(state.arrays for state in restored)


def test_records_of_a_replay_reach_no_observer_and_no_counter() -> None:
    broker = filled([("a", 1)] * 6)
    never = replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS))
    turned(life(broker, policies=never, max_records=100), 2)
    broker.produce(ZERO, [Stored(9, b"a", b"1")])
    seen: list[int] = []
    again = life(broker, observers=[lambda observations, step: seen.extend(observations.offset_N.tolist())])
    again.worker.run()
    assert seen == [6]
    assert again.worker.metrics.value("records_total") == 1
    assert states(again)[ZERO]["a"][:2] == [7, 7]


def test_a_replay_shows_as_restoring_until_it_is_done() -> None:
    broker = filled([("a", 1)] * 6)
    turned(life(broker, policies=replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS)), max_records=100), 2)
    again = life(broker, max_records=2)
    assert not again.worker.progress.ready
    left = []
    again.worker.start()
    for _ in range(4):
        again.worker.turn()
        left.append((again.worker.progress.records_left, again.worker.progress.ready))
    assert left == [(0, False), (4, False), (2, False), (0, True)]


def test_what_the_owner_before_committed_meanwhile_is_not_missed() -> None:
    """Between the two requests that a take-over makes, the previous owner reports a silence that no replay would find."""
    broker, policies = filled([("a", 1), ("b", 1)]), replace(ENDLESS, idle_timers=True)
    clock = Clock()
    before = turned(life(broker, policies=policies, finite=False, clock=clock), 2)
    before.worker._ports.delivery._source = None  # type: ignore[attr-defined]
    after = life(broker, finite=False, policies=policies)
    asked: list[str] = []

    def meanwhile(call: Callable[[Partition], object]) -> Callable[[Partition], object]:
        def answer(partition: Partition) -> object:
            asked.append("")
            if len(asked) == 2:
                clock.now += 5000.0
                before.worker.turn()
                before.worker.turn()
            return call(partition)

        return answer

    source, store = after.worker._restoring._source, after.worker._restoring._store
    after.worker._restoring._source = Stub(source, committed=meanwhile(source.committed))  # type: ignore[assignment]
    after.worker._restoring._store = Stub(store, load=meanwhile(store.load))  # type: ignore[assignment,union-attr]
    turned(after, 3)
    opened = [text for text in alerts(broker) if text.endswith("/open")]
    broker.produce(ZERO, [Stored(9_000_000_000, b"a", b"1"), Stored(9_000_000_001, b"b", b"1")])
    for _ in range(3):
        after.worker.turn()
    assert len(opened) == 2
    assert [text for text in alerts(broker) if text.endswith("/close")] == [text[:-4] + "close" for text in opened]


class Stub:
    """A port of which some calls are replaced."""

    def __init__(self, port: object, **calls: object) -> None:
        self._port = port
        self.__dict__ |= calls

    def __getattr__(self, name: str) -> object:
        return getattr(self._port, name)


OTHER = replace(running_sum.MAKE, model="model-2")


def test_another_model_takes_the_state_over_and_the_old_one_is_deleted_once_nothing_needs_it() -> None:
    broker = filled([("a", 1), ("b", 1)])
    ran(broker)
    second = ran(broker, make=OTHER)
    assert {key: row[:2] for key, row in states(second)[ZERO].items()} == {"a": [1, 1], "b": [1, 1]}
    assert second.worker.metrics.value("restores_total", outcome="changed") == 1
    assert {b"model/model-1/0", b"model/model-2/0"} <= broker.snapshots[ZERO].keys()
    broker.produce(ZERO, [Stored(9, b"a", b"5")])
    third = ran(broker, make=OTHER)
    assert third.worker.metrics.value("restores_total", outcome="restored") == 1
    assert states(third)[ZERO]["a"][:2] == [6, 2]
    assert [key for key in broker.snapshots[ZERO] if key.startswith(b"model")] == [b"model/model-2/0"]
    ledger = find_ledger(broker.snapshots[ZERO])
    assert ledger is not None
    assert [(regime.since, regime.model) for regime in ledger.regimes] == [(2, "model-2")]


def test_what_was_decided_under_the_old_rules_is_replayed_by_them() -> None:
    """After a crash the next start has other rules: 70 was no alarm when it was read, and must not become one."""
    never = replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS))
    broker = filled([("a", 70), ("b", 120)])
    turned(life(broker, policies=never, max_records=100), 2)
    assert alerts(broker) == ["readings-0-1-b-pattern/open"]
    broker.produce(ZERO, [Stored(9, b"a", b"71"), Stored(10, b"b", b"1")])
    ran(broker, limit=60.0)
    assert alerts(broker) == [
        "readings-0-1-b-pattern/open",
        "readings-0-2-a-pattern/open",
        "readings-0-1-b-pattern/close",
    ]


def test_state_of_another_configuration_ends_the_daemon_before_it_reads() -> None:
    broker = filled()
    ran(broker)
    with pytest.raises(Incompatible, match=r"stream\.key"):
        ran(broker, make=Make("model-1", 1, {"stream.key": "machine"}))


def test_what_another_release_did_not_store_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, restore = filled(RECORDS), running_sum.RunningSum.restore

    def lacking(detector: running_sum.RunningSum, state: Exported) -> tuple[str, ...]:
        return (*restore(detector, state), "season")

    ran(broker)
    monkeypatch.setattr(running_sum.RunningSum, "restore", lacking)
    again = life(broker)
    again.worker._log = structlog.get_logger()
    with capture_logs() as logs:
        again.worker.run()
    told = [line for line in logs if line["event"].startswith("another release stored the state")]
    assert [(line["log_level"], line["columns"]) for line in told] == [("warning", ("season",))]


def test_snapshots_that_are_gone_count_as_a_loss() -> None:
    broker = filled()
    ran(broker)
    broker.snapshots.clear()
    assert ran(broker).worker.metrics.value("restores_total", outcome="lost") == 1


def test_records_that_retention_took_are_counted() -> None:
    broker = filled()
    ran(broker)
    fill(broker, [("a", 1)] * 10, 1)
    broker.expire(ZERO, 12)
    assert ran(broker).worker.metrics.value("records_lost_total") == 7
    assert broker.positions == {ZERO: 15}


def test_a_partition_whose_replay_was_compacted_away_goes_live() -> None:
    broker = filled([("a", 1)] * 4)
    clock = Clock(step=0.5)
    never = replace(ENDLESS, snapshot=SnapshotPolicy(1e6, BUCKETS))
    turned(life(broker, policies=never, max_records=100, finite=False), 2)
    for log in broker.topics[TOPIC]:
        log[1:] = []
    broker.positions[ZERO] = 4
    again = turned(life(broker, policies=never, clock=clock, finite=False), 6)
    assert again.worker.progress.ready


def test_the_age_of_what_is_replayed_is_told() -> None:
    broker, never = filled([("a", 1)] * 40), replace(ENDLESS, snapshot=SnapshotPolicy(1e6, BUCKETS))
    turned(life(broker, policies=never, max_records=100, finite=False), 2)
    again = life(broker, policies=never, clock=Clock(step=0.6), max_records=1, finite=False)
    again.worker._clocks = replace(again.worker._clocks, wall=lambda: 7200.0)
    turned(again, 4)
    value = again.worker.metrics.value
    assert again.worker.progress.records_left > 0
    assert value("lag_records") > 0
    assert value("lag_seconds") == pytest.approx(7200.0, abs=1.0)


def test_the_record_at_the_committed_position_is_live_even_if_all_before_it_was_compacted_away() -> None:
    broker = filled([("a", 1), ("a", 2)])
    turned(life(broker, policies=replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS)), max_records=100), 2)
    assert broker.positions == {ZERO: 2}
    broker.topics[TOPIC][0][:] = [None, None]
    broker.produce(ZERO, [Stored(9, b"a", b"150")])
    ran(broker, max_records=100)
    assert alerts(broker) == ["readings-0-2-a-pattern/open"]


def test_a_partition_that_left_and_came_anew_while_its_snapshots_were_read_is_read_again() -> None:
    broker = filled([("a", 1), ("a", 2)])
    ran(broker)
    one = life(broker, finite=False, policies=ENDLESS)
    inner, loads = one.worker._ports.snapshots.load, []  # type: ignore[union-attr]

    def load(partition: Partition) -> object:
        loads.append(partition)
        if len(loads) == 1:
            one.worker._members.lost([ZERO])
            one.worker._members.assigned([ZERO])
        return inner(partition)

    one.worker._ports.snapshots.load = load  # type: ignore[union-attr,assignment,method-assign]
    turned(one, 2)
    assert (one.worker.progress.running, one.worker.progress.restoring) == (0, 1)
    one.worker.turn()
    assert len(loads) == 2
    assert one.worker.progress.running == 1


def test_a_commit_of_another_member_amid_a_take_over_does_not_pass_for_an_offset_that_was_moved_back() -> None:
    """The process slept between the two reads, and wakes when its partition belongs to another member."""
    broker = filled(RECORDS)
    turned(life(broker, max_records=1), 2)
    overtaken = life(broker)
    store = overtaken.worker._ports.snapshots
    assert store is not None
    others = iter([functools.partial(ran, broker)])

    def load(partition: Partition) -> object:
        next(others, lambda: None)()
        return store.load(partition)

    overtaken.worker._restoring._store = Stub(store, load=load)  # type: ignore[assignment]
    turned(overtaken)
    assert overtaken.worker.metrics.value("restores_total", outcome="restored") == 1
    assert states(overtaken) == states(ran(broker))
