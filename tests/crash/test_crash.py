"""The crash as an input: wherever the loop dies, in any number of lives, the delivered messages and the final state are
those of an uninterrupted run (law L6).

A life is one start of the worker.
"""

from __future__ import annotations

from contextlib import suppress

import running_sum
from crashing import TOPIC, Clock, Death, Fate, Life, alerts, dead_letters, fill, life, states
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anomaly_daemon.daemon.partition import cut
from anomaly_daemon.transport.memory import MemoryBroker
from anomaly_daemon.transport.ports import Partition

STREAMS = ("a", "b", "cc", "dd", "eee")
Records = list[tuple[str, int]]
RECORDS = st.lists(st.tuples(st.sampled_from(STREAMS), st.sampled_from((-1, 1, 50, 101, 200))), min_size=1, max_size=30)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def uninterrupted(records: Records, partitions: int) -> tuple[MemoryBroker, Life]:
    broker = MemoryBroker()
    fill(broker, records, partitions)
    one = life(broker)
    one.worker.run()
    return broker, one


def interrupted(records: Records, partitions: int, deaths: list[int], max_records: int) -> tuple[MemoryBroker, Life]:
    broker = MemoryBroker()
    fill(broker, records, partitions)
    for at, death in enumerate(
        deaths
    ):  # the batches of each life end at other records, so that some reach past what is committed
        with suppress(Death):
            life(broker, Fate(death), max_records=1 + (max_records + 3 * at) % 7).worker.run()
    last = life(broker, max_records=max_records)
    last.worker.run()
    return broker, last


@MANY
@given(RECORDS, st.integers(1, 3), st.lists(st.integers(1, 120), max_size=5), st.integers(1, 7))
def test_deaths_at_any_call_change_neither_what_is_delivered_nor_the_state(
    records: Records, partitions: int, deaths: list[int], max_records: int
) -> None:
    expected, whole = uninterrupted(records, partitions)
    found, last = interrupted(records, partitions, deaths, max_records)
    assert alerts(found) == alerts(expected)
    assert dead_letters(found) == dead_letters(expected)
    assert found.positions == expected.positions
    assert states(last) == states(whole)


def test_batches_that_reach_past_what_is_committed_are_told_of_from_there_on() -> None:
    expected, _ = uninterrupted(LONG, 1)
    for death in range(20, 80):
        broker = MemoryBroker()
        fill(broker, LONG, 1)
        with suppress(Death):
            life(broker, Fate(death), max_records=2).worker.run()
        life(broker, max_records=60).worker.run()
        assert alerts(broker) == alerts(expected), death


LONG = [(STREAMS[at * 7 % 5], (1, 150, 20, 300, -1, 40)[at * 5 % 6]) for at in range(60)]


def test_one_death_at_each_call_there_is() -> None:
    expected, whole = uninterrupted(LONG, 2)
    fate = Fate()
    broker = MemoryBroker()
    fill(broker, LONG, 2)
    life(broker, fate).worker.run()
    assert fate.calls > 200
    for death in range(1, fate.calls + 1):
        found, last = interrupted(LONG, 2, [death], max_records=2)
        assert alerts(found) == alerts(expected), death
        assert dead_letters(found) == dead_letters(expected), death
        assert states(last) == states(whole), death


def test_a_life_that_dies_again_and_again_still_gets_through() -> None:
    expected, whole = uninterrupted(LONG, 1)
    found, last = interrupted(LONG, 1, [45] * 40, max_records=3)
    assert alerts(found) == alerts(expected)
    assert states(last) == states(whole)


def test_the_uninterrupted_run_says_what_a_plain_loop_over_the_records_says() -> None:
    found, whole = uninterrupted(LONG, 1)
    sums: dict[str, list[int]] = {}
    opened: dict[str, int] = {}
    told = []
    for offset, (stream, value) in enumerate(LONG):
        if value < 0:
            continue
        sums.setdefault(stream, []).append(value)
        if value > 100 and stream not in opened:
            opened[stream] = offset
            told.append(f"readings-0-{offset}-{stream}-pattern/open")
        elif value <= 100 and stream in opened:
            told.append(f"readings-0-{opened.pop(stream)}-{stream}-pattern/close")
    assert alerts(found) == told
    (state,) = states(whole).values()
    assert {stream: row[:2] for stream, row in state.items()} == {s: [sum(v), len(v)] for s, v in sums.items()}


@MANY
@given(RECORDS, st.integers(1, 2), st.lists(st.tuples(st.sampled_from((60.0, 100.0)), st.integers(1, 60)), max_size=6))
def test_a_change_of_rules_is_in_force_from_the_committed_position_on_wherever_deaths_fall(
    records: Records, partitions: int, lives: list[tuple[float, int]]
) -> None:
    broker = MemoryBroker()
    fill(broker, records, partitions)
    limits: dict[Partition, dict[int, float]] = {name: {} for name in broker.create(TOPIC)}
    one = None
    for limit, death in [*lives, (80.0, None)]:
        for name, since in limits.items():
            since[broker.positions.get(name, 0)] = limit
        one = life(broker, Fate(death), limit=limit)
        with suppress(Death):
            one.worker.run()
    assert one is not None
    told, state = [], {}
    for name, since in limits.items():
        plain = running_sum.RunningSum(name)
        batch = broker.read(name, 0, 1000)
        for part in cut(batch, since) if batch else ():
            plain.limit = since[max(at for at in since if at <= part.offsets[0])]
            step = plain.step(running_sum.PlainDecoder().decode(part).observations)
            told += [f"{alert.alert_id}/{alert.event}" for alert in step.alerts]
        state[name] = plain.state
    assert alerts(broker) == sorted(told, key=lambda text: text.split("-")[1])
    assert states(one) == state


@MANY
@given(RECORDS, RECORDS, st.lists(st.integers(1, 60), max_size=3))
def test_without_snapshots_offsets_and_alerts_still_go_together(
    first: Records, more: Records, deaths: list[int]
) -> None:
    """State is lost at a death, so the alerts differ, but the alert of a record is never published twice."""
    broker = MemoryBroker()
    fill(broker, first + more, 1)
    for death in deaths:
        with suppress(Death):
            life(broker, Fate(death), snapshots=False).worker.run()
    life(broker, snapshots=False).worker.run()
    opened = [text for text in alerts(broker) if text.endswith("/open")]
    assert len(opened) == len(set(opened))
    assert len(dead_letters(broker)) == sum(value < 0 for _, value in first + more)


@MANY
@example([("a", 1)], ["steal", "back", "steal"])
@given(RECORDS, st.lists(st.sampled_from(("a", "b", "move", "back", "steal", "die a")), max_size=25))
def test_partitions_that_move_between_members_keep_their_state_and_their_alerts(
    records: Records, happening: list[str]
) -> None:
    expected, whole = uninterrupted(records, 2)
    broker = MemoryBroker()
    fill(broker, records, 2)
    group = _Group(broker)
    for event in happening:
        group.happen(event)
    survivor = group.settle()
    assert alerts(broker) == alerts(expected)
    assert dead_letters(broker) == dead_letters(expected)
    assert states(survivor) == states(whole)


class _Group:
    """Two members. At first partition 0 is assigned to a, and partition 1 to b."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.clock = Clock()
        self.members = {name: self._join(name, [number]) for number, name in enumerate("ab")}

    def _join(self, name: str, partitions: list[int]) -> Life:
        one = life(self.broker, partitions=partitions, clock=self.clock)
        one.worker.start()
        one.worker.turn()
        return one

    def happen(self, event: str) -> None:
        a, b = self.members["a"], self.members["b"]
        zero = self.broker.create("readings")[:1]
        if event in self.members:
            self.members[event].worker.turn()
        elif event == "move" and zero[0] in a.source.lag():  # orderly: revoked, then assigned to the other
            a.source.revoke(zero)
            a.worker.turn()
            b.source.assign(zero)
        elif event == "back" and zero[0] in b.source.lag():
            b.source.revoke(zero)
            b.worker.turn()
            a.source.assign(zero)
        elif event == "steal" and zero[0] in a.source.lag():  # lost: assigned to the other before the owner is told
            a.source.lose(zero)
            b.source.assign(zero)
            b.worker.turn()
        elif event == "die a":
            held = [at.partition for at, owner in self.broker.owners.items() if owner is a.source]
            a.source.close()  # a partition that was stolen from it stays with the other
            self.members["a"] = self._join("a", held)

    def settle(self) -> Life:
        """Stop both members in an orderly way. A single member then reads the remaining records, and so holds the whole
        state."""
        for member in self.members.values():
            member.worker.turn()
            member.worker.finish()
            member.source.close()
        last = life(self.broker)
        last.worker.run()
        return last
