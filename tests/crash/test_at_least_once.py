"""Delivery without transactions: wherever the loop dies, every alert is published under its own id, only repeats are
added, and the final state is that of an uninterrupted run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import running_sum
from crashing import (
    BUCKETS,
    ENDLESS,
    POLICIES,
    TOPIC,
    ZERO,
    Clock,
    Death,
    Fate,
    Life,
    alerts,
    dead_letters,
    fill,
    filled,
    life,
    ran,
    states,
    turned,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly_daemon.checkpoint.ledger import find_ledger, find_ledgers
from anomaly_daemon.checkpoint.snapshot import bucket_records
from anomaly_daemon.daemon import partition
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.transport.memory import MemoryBroker, Stored

STREAMS = ("a", "b", "cc", "dd", "eee")
Records = list[tuple[str, int]]
RECORDS = st.lists(st.tuples(st.sampled_from(STREAMS), st.sampled_from((-1, 1, 50, 101, 200))), min_size=1, max_size=30)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONG = [(STREAMS[at * 7 % 5], (1, 150, 20, 300, -1, 40)[at * 5 % 6]) for at in range(60)]


def whole(records: Records, partitions: int, **options: Any) -> tuple[MemoryBroker, Life]:
    broker = MemoryBroker()
    fill(broker, records, partitions)
    return broker, ran(broker, **options)


def interrupted(records: Records, partitions: int, deaths: list[int], max_records: int) -> tuple[MemoryBroker, Life]:
    broker = MemoryBroker()
    fill(broker, records, partitions)
    for at, death in enumerate(
        deaths
    ):  # the batches of each life end at other records, so that some reach past what is committed
        with suppress(Death):
            life(broker, Fate(death), max_records=1 + (max_records + 3 * at) % 7, atomic=False).worker.run()
    return broker, ran(broker, max_records=max_records, atomic=False)


def ledgers(broker: MemoryBroker) -> dict[bytes, bytes]:
    store = broker.snapshots[ZERO]
    return {key: store[key] for key in find_ledgers(store)}


def assert_repeated_at_most(found: MemoryBroker, expected: MemoryBroker) -> None:
    assert list(dict.fromkeys(alerts(found))) == alerts(expected)
    assert set(dead_letters(found)) == set(dead_letters(expected))


def test_undisturbed_it_tells_what_the_transactions_tell() -> None:
    (found, one), (expected, other) = whole(LONG, 2, atomic=False), whole(LONG, 2)
    assert alerts(found) == alerts(expected)
    assert states(one) == states(other)
    assert found.positions == expected.positions


@MANY
@given(RECORDS, st.integers(1, 3), st.lists(st.integers(1, 160), max_size=5), st.integers(1, 7))
def test_deaths_at_any_call_add_repeats_and_nothing_else(
    records: Records, partitions: int, deaths: list[int], max_records: int
) -> None:
    expected, last = whole(records, partitions)
    found, survivor = interrupted(records, partitions, deaths, max_records)
    assert_repeated_at_most(found, expected)
    assert found.positions == expected.positions
    assert states(survivor) == states(last)


def test_one_death_at_each_call_there_is() -> None:
    expected, last = whole(LONG, 2)
    fate, broker = Fate(), MemoryBroker()
    fill(broker, LONG, 2)
    life(broker, fate, atomic=False).worker.run()
    repeats = 0
    for death in range(1, fate.calls + 1):
        found, survivor = interrupted(LONG, 2, [death], max_records=2)
        assert_repeated_at_most(found, expected)
        assert states(survivor) == states(last), death
        repeats += len(alerts(found)) - len(alerts(expected))
    assert repeats > 0, "a test in which nothing is ever repeated tests nothing"


@MANY
@given(RECORDS, st.lists(st.tuples(st.booleans(), st.integers(1, 80)), max_size=6))
def test_a_deployment_may_change_from_the_one_to_the_other_and_back(
    records: Records, lives: list[tuple[bool, int]]
) -> None:
    expected, last = whole(records, 1)
    broker = MemoryBroker()
    fill(broker, records, 1)
    for atomic, death in lives:
        with suppress(Death):
            life(broker, Fate(death), atomic=atomic).worker.run()
    survivor = ran(broker)
    assert list(dict.fromkeys(alerts(broker))) == alerts(expected)
    assert states(survivor) == states(last)


@MANY
@given(RECORDS, st.lists(st.tuples(st.sampled_from((60.0, 100.0)), st.integers(1, 60)), max_size=5))
def test_what_is_in_force_is_stored_before_the_first_record_counts(
    records: Records, lives: list[tuple[float, int]]
) -> None:
    """As with transactions: a replay uses the rules that decided originally, so an alert is never reversed."""
    broker = MemoryBroker()
    fill(broker, records, 1)
    since = {0: 60.0}
    for limit, death in lives:
        since[broker.positions.get(ZERO, 0)] = limit
        with suppress(Death):
            life(broker, Fate(death), limit=limit, atomic=False).worker.run()
    since[broker.positions.get(ZERO, 0)] = 80.0
    survivor = ran(broker, limit=80.0, atomic=False)
    plain = running_sum.RunningSum(ZERO)
    for offset in range(broker.end(ZERO)):
        plain.limit = since[max(at for at in since if at <= offset)]
        batch = broker.read(ZERO, offset, 1)
        assert batch is not None
        plain.step(running_sum.PlainDecoder().decode(batch).observations)
    assert states(survivor)[ZERO] == plain.state


def test_a_newer_version_of_a_bucket_than_the_ledger_knows_is_used_and_replayed_from() -> None:
    """The crash came after a bucket was written and before its ledger."""
    expected, last = whole(LONG, 1)
    broker, _ = whole(LONG[:40], 1, atomic=False)
    older = ledgers(broker)
    fill(broker, LONG[40:50], 1, 40)
    ran(broker, atomic=False)
    for key in ledgers(broker):
        del broker.snapshots[ZERO][key]
    broker.snapshots[ZERO] |= older
    fill(broker, LONG[50:], 1, 50)
    assert states(ran(broker, atomic=False))[ZERO].keys() == states(last)[ZERO].keys()
    assert alerts(broker) == alerts(expected)


def test_an_older_version_than_the_ledger_knows_lengthens_the_replay_and_changes_nothing() -> None:
    """A member that had already lost the partition wrote its buckets once more."""
    _, last = whole(LONG, 1)
    broker, _ = whole(LONG[:20], 1, atomic=False)
    zombie = {key: value for key, value in broker.snapshots[ZERO].items() if key.startswith(b"bucket")}
    fill(broker, LONG[20:], 1, 20)
    ran(broker, atomic=False)
    for key in [key for key in broker.snapshots[ZERO] if key.startswith(b"bucket")]:
        del broker.snapshots[ZERO][key]
    broker.snapshots[ZERO] |= zombie
    again = ran(broker, atomic=False)
    assert {key: row[:2] for key, row in states(again)[ZERO].items()} == {
        key: row[:2] for key, row in states(last)[ZERO].items()
    }
    assert again.worker.metrics.value("restores_total", outcome="restored") == 1


def test_a_ledger_that_a_zombie_wrote_late_does_not_hide_what_its_successor_decided_by() -> None:
    """The zombie passed the fence and was suspended. Its successor changed the rules, and died while it had buckets to
    rebuild."""
    broker = filled([("a", 70)] * 4)
    ran(broker, limit=60.0, atomic=False)
    zombie = ledgers(broker)
    fill(broker, [("b", 70)] * 6, 1, 4)
    never = replace(POLICIES, snapshot=SnapshotPolicy(1e9, BUCKETS))
    with suppress(Death):
        turned(life(broker, limit=1000.0, atomic=False, policies=never), 8)
    broker.snapshots[ZERO] |= zombie
    survivor = ran(broker, limit=60.0, atomic=False)
    plain = running_sum.RunningSum(ZERO)
    for offset in range(broker.end(ZERO)):
        plain.limit = 60.0 if offset < 4 else 1000.0
        batch = broker.read(ZERO, offset, 1)
        assert batch is not None
        plain.step(running_sum.PlainDecoder().decode(batch).observations)
    assert states(survivor)[ZERO] == plain.state


def test_the_ledgers_of_earlier_owners_are_cleared_away() -> None:
    broker = filled([("a", 1)] * 4)
    for _ in range(3):
        fill(broker, [("a", 1)], 1)
        ran(broker, atomic=False)
    assert len(ledgers(broker)) == 1
    fill(broker, [("a", 1)], 1)
    ran(broker)
    assert list(ledgers(broker)) == [b"ledger"]


def test_a_version_that_is_half_written_gives_way_to_the_whole_one_before_it() -> None:
    broker, _ = whole(LONG[:30], 1, atomic=False)
    fill(broker, LONG[30:], 1, 30)
    ran(broker, atomic=False)
    store = broker.snapshots[ZERO]
    newest = [key for key in store if key.startswith(b"bucket") and b".1/" in key] or [b"bucket/0/0"]
    store[newest[0]] = store[newest[0]][:-1]
    _, last = whole(LONG, 1)
    assert {k: row[:2] for k, row in states(ran(broker, atomic=False))[ZERO].items()} == {
        k: row[:2] for k, row in states(last)[ZERO].items()
    }


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write even a bucket of a few streams in several parts, as one of thousands of streams is written."""
    monkeypatch.setattr(partition, "bucket_records", lambda bucket: bucket_records(bucket, part_bytes=150))


@pytest.mark.usefixtures("small_parts")
def test_one_death_at_each_call_there_is_tears_no_bucket_beyond_repair() -> None:
    expected, last = whole(LONG[:30], 1)
    fate, broker = Fate(), MemoryBroker()
    fill(broker, LONG[:30], 1)
    life(broker, fate, atomic=False).worker.run()
    for death in range(1, fate.calls + 1):
        found, survivor = interrupted(LONG[:30], 1, [death], max_records=2)
        assert_repeated_at_most(found, expected)
        assert states(survivor) == states(last), death


@pytest.mark.parametrize("atomic", [True, False])
def test_a_silence_that_the_clock_raised_is_known_after_a_restart_at_the_same_offset(atomic: bool) -> None:
    """Two versions of the bucket are stored: one with the silence, and one without."""
    broker, clock = filled([("a", 1), ("a", 2)]), Clock(step=0.5)
    policies = replace(ENDLESS, idle_timers=True)
    one = turned(life(broker, policies=policies, clock=clock, finite=False, atomic=atomic), 20)
    clock.now += running_sum.SILENCE / 1e6
    for _ in range(10):
        one.worker.turn()
    one.worker.finish()
    one.source.close()
    assert alerts(broker) == ["readings-0-1-a-silence/open"]
    broker.produce(ZERO, [Stored(9, b"a", b"1")])
    ran(broker, atomic=atomic)
    assert alerts(broker) == ["readings-0-1-a-silence/open", "readings-0-1-a-silence/close"]


@pytest.mark.parametrize("atomic", [True, False])
def test_what_is_announced_above_an_offset_that_retention_overtook_is_gone_on_from(atomic: bool) -> None:
    broker = filled([("a", 1)] * 5)
    ran(broker, atomic=atomic)
    broker.snapshots.clear()
    fill(broker, [("a", 1)] * 10, 1)
    broker.expire(ZERO, 15)
    for _ in range(2):
        again = ran(broker, atomic=atomic)
    assert again.worker.metrics.value("restores_total", outcome="restored") == 1


def test_a_bucket_that_is_gone_altogether_is_refused() -> None:
    broker, _ = whole(LONG, 1, atomic=False)
    for key in [key for key in broker.snapshots[ZERO] if key.startswith(b"bucket/1")]:
        del broker.snapshots[ZERO][key]
    with pytest.raises(Incompatible, match="snapshot bucket 1, which the ledger names, is gone"):
        ran(broker, atomic=False)


def test_versions_of_a_bucket_take_turns_between_two_slots() -> None:
    broker = filled([("a", 1)] * 4)
    ran(broker, atomic=False)
    for _ in range(3):
        broker.produce(broker.create(TOPIC)[0], [Stored(9, b"a", b"1")])
        ran(broker, atomic=False)
    slots = {key.split(b"/")[1] for key in broker.snapshots[ZERO] if key.startswith(b"bucket")}
    assert len({slot.split(b".")[0] for slot in slots}) == 1
    assert len(slots) == 2
    ledger = find_ledger(broker.snapshots[ZERO])
    assert ledger is not None
    assert not ledger.atomic
