"""Feedback on alerts while the loop runs: wherever the daemon dies, each label reaches its stream once, and with
transactions each alert is published once.

To hear a label means to read it from the feedback topic and to take it into the stream's state.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from crashing import TOPIC, Death, Fate, Life, alerts, fill, life, turned
from test_succession import Decided

from anomaly_daemon.checkpoint.ledger import find_ledger
from anomaly_daemon.daemon import feedback
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.memory import MemoryBroker
from anomaly_daemon.transport.ports import Partition

STREAMS = ("a", "b", "cc", "dd")
FIRST = [(stream, 1) for stream in STREAMS]
LATER = [(STREAMS[at * 7 % 4], (1, 70, 110, 130, -1, 90)[at * 5 % 6]) for at in range(60)]
LABELS = [("a", "false"), ("cc", "false"), ("a", "false"), ("nobody", "false"), ("dd", "true")]
COUNTS = {"a": 2, "b": 0, "cc": 1, "dd": 1}


@dataclass
class Said:
    """A `ports.EndedLog` that returns all these labels at its first read, and nothing afterwards."""

    labels: list[tuple[str, str]]
    given: bool = False
    kind: str | None = None

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        given, self.given = self.given, True
        told = ({"alert_id": str(at), "label": said, "stream": key} for at, (key, said) in enumerate(self.labels))
        return [] if given else [(at, json.dumps(one | {"kind": self.kind}).encode()) for at, one in enumerate(told)]

    def end(self) -> int:
        return len(self.labels)

    def close(self) -> None: ...


@dataclass
class After:
    """An observer that makes the daemon read the labels once so many live records have been processed."""

    records: int
    worker: list[Life] = field(default_factory=list)
    seen: int = 0

    def __call__(self, observations: Observations, step: Step) -> None:
        self.seen += len(observations)
        if self.seen >= self.records and self.worker:
            self.worker.pop().worker._feedback.read(Said(LABELS))


def a_life(broker: MemoryBroker, decided: Decided, after: int, fate: Fate | None = None, *, atomic: bool) -> Life:
    hears = After(after)
    one = life(broker, fate, observers=[decided, hears], atomic=atomic)
    hears.worker.append(one)
    return one


def begun(decided: Decided, *, atomic: bool, known: list[tuple[str, int]] = FIRST) -> MemoryBroker:
    """Return a broker on which these streams are known and committed, with more records to be read. By default they are
    all the streams that occur."""
    broker = MemoryBroker()
    fill(broker, known, 2)
    life(broker, observers=[decided], atomic=atomic).worker.run()
    fill(broker, LATER, 2, first=len(known))
    return broker


def labels_in(one: Life) -> dict[str, int]:
    states = [owned.detector.state for owned in one.worker._members.owned.values()]  # type: ignore[attr-defined]
    return {key: row[5] for state in states for key, row in state.items()}


@pytest.mark.parametrize(
    ("atomic", "known", "after"), [(True, FIRST, 9), (False, FIRST, 9), (True, FIRST[1:2], 1), (False, FIRST[1:2], 1)]
)
def test_one_death_at_each_call_there_is_around_what_is_heard(
    atomic: bool, known: list[tuple[str, int]], after: int
) -> None:
    fate = Fate()
    a_life(begun(Decided(), atomic=atomic, known=known), Decided(), after, fate, atomic=atomic).worker.run()
    for death in range(1, fate.calls + 1):
        decided = Decided()
        broker = begun(decided, atomic=atomic, known=known)
        with suppress(Death):
            a_life(broker, decided, after, Fate(death), atomic=atomic).worker.run()
        last = life(broker, observers=[decided], atomic=atomic)
        last.worker._feedback.read(Said(LABELS))  # from the beginning, as every start reads them
        last.worker.run()
        assert labels_in(last) == COUNTS, death
        told, should = alerts(broker), decided.told(broker)[0]
        assert told == should if atomic else set(should) <= set(told), death


def test_what_is_heard_stands_in_the_ledger_and_is_not_heard_again() -> None:
    broker = begun(Decided(), atomic=True)
    a_life(broker, Decided(), 9, atomic=True).worker.run()
    for number in range(2):
        ledger = find_ledger(broker.snapshots[Partition(TOPIC, number)])
        assert ledger is not None
        assert ledger.heard == len(LABELS)
    again = life(broker)
    again.worker._feedback.read(Said(LABELS))
    again.worker.run()
    assert again.worker.metrics.value("feedback_total", outcome="taken") == 0


@pytest.mark.parametrize(
    ("kind", "moves"), [("pattern", True), (None, True), ("silence", False), ("stuck", False), ("schema", False)]
)
def test_what_is_said_of_another_kind_than_patterns_moves_no_threshold(kind: str | None, moves: bool) -> None:
    one = life(begun(Decided(), atomic=True))
    one.worker._feedback.read(Said(LABELS, kind=kind))
    one.worker.run()
    assert (labels_in(one) == COUNTS) is moves
    assert one.worker.metrics.value("feedback_total", outcome="taken") == (sum(COUNTS.values()) if moves else 0)
    assert one.worker.metrics.value("feedback_total", outcome="refused") == 0
    assert one.worker.metrics.value("feedback_total", outcome="passed_over") == (0 if moves else len(LABELS))


@pytest.mark.parametrize("atomic", [True, False])
def test_a_stream_that_comes_after_what_was_said_of_it_hears_all_of_it_once(atomic: bool) -> None:
    broker = MemoryBroker()
    fill(broker, [("b", 1)], 2)
    one = life(broker, finite=False, atomic=atomic)
    turned(one)
    one.worker._feedback.read(Said(LABELS))
    one.worker.turn()
    assert one.worker.metrics.value("feedback_total", outcome="taken") == 0
    fill(broker, FIRST, 2, first=1)
    for _ in range(6):
        one.worker.turn()
    assert labels_in(one) == COUNTS
    assert one.worker.metrics.value("feedback_total", outcome="taken") == sum(COUNTS.values())


def test_a_labelled_stream_does_not_lose_its_turn_while_no_partition_may_take_labels_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feedback, "LOOKED_FOR", 1)
    broker = MemoryBroker()
    fill(broker, [("b", 1)], 2)
    one = turned(life(broker, finite=False))
    one.worker._feedback.read(Said(LABELS[:2]))
    one.worker.turn()
    fill(broker, FIRST, 2, first=1)
    one.worker.turn()
    one.worker.finish()
    for _ in range(4):
        one.worker._feedback.take([])  # as while records wait for a commit
        one.worker._feedback.take(one.worker._members.live())
    assert labels_in(one) == {"a": 1, "b": 0, "cc": 1, "dd": 0}


def test_a_stream_that_comes_after_what_was_said_of_it_hears_it_of_whoever_has_its_partition_by_then() -> None:
    broker = MemoryBroker()
    known = [("b", 1), ("bb", 1)] * 10  # the labels are read at the first record, long before the last commit
    fill(broker, known, 2)
    a_life(broker, Decided(), 1, atomic=True).worker.run()
    for number in range(2):
        ledger = find_ledger(broker.snapshots[Partition(TOPIC, number)])
        assert ledger is not None
        assert ledger.heard == len(LABELS)
    fill(broker, FIRST, 2, first=len(known))
    last = life(broker)
    last.worker._feedback.read(Said(LABELS))
    last.worker.run()
    assert labels_in(last) == {**COUNTS, "bb": 0}


@pytest.mark.parametrize("atomic", [True, False])
def test_a_topic_that_was_made_anew_is_heard_from_its_beginning(atomic: bool) -> None:
    broker = begun(Decided(), atomic=atomic)
    a_life(broker, Decided(), 9, atomic=atomic).worker.run()
    fill(broker, LATER, 2, first=len(FIRST) + len(LATER))
    anew = Said([("a", "false"), ("b", "false")])
    again = life(broker, atomic=atomic)
    again.worker.start()
    for _ in range(40):
        again.worker._feedback.read(anew)
        again.worker.turn()
    again.worker.run()
    assert labels_in(again) == {**COUNTS, "a": 3, "b": 1}
    assert again.worker.metrics.value("feedback_total", outcome="begun_anew") == 2  # partitions
    for number in range(2):
        ledger = find_ledger(broker.snapshots[Partition(TOPIC, number)])
        assert ledger is not None
        assert ledger.heard == 2
    last = life(broker, atomic=atomic)
    last.worker._feedback.read(Said(anew.labels))
    last.worker.run()
    assert labels_in(last) == labels_in(again)


@pytest.mark.parametrize("atomic", [True, False])
def test_an_owner_that_hears_nothing_does_not_hide_that_the_topic_was_made_anew(atomic: bool) -> None:
    """Such as one that ran while `retraining.feedback_topic` was not set."""
    broker = begun(Decided(), atomic=atomic)
    a_life(broker, Decided(), 9, atomic=atomic).worker.run()
    life(broker, atomic=atomic).worker.run()
    again = life(broker, atomic=atomic)
    again.worker.start()
    for _ in range(40):
        again.worker._feedback.read(Said([("a", "false"), ("b", "false")]))
        again.worker.turn()
    assert labels_in(again) == {**COUNTS, "a": 3, "b": 1}
    assert again.worker.metrics.value("feedback_total", outcome="begun_anew") == 2  # partitions


def test_a_topic_made_anew_under_a_running_daemon_is_heard_from_its_beginning() -> None:
    one = life(begun(Decided(), atomic=True), finite=False)
    turned(one)
    for said in (Said(LABELS), Said([("b", "false")])):
        for _ in range(4):
            one.worker._feedback.read(said)
            one.worker.turn()
            said.given = True
    assert labels_in(one) == {**COUNTS, "b": 1}


def test_a_daemon_that_has_not_read_so_far_yet_begins_nothing_anew() -> None:
    broker = begun(Decided(), atomic=True)
    a_life(broker, Decided(), 9, atomic=True).worker.run()
    again = life(broker, finite=False)
    slow = Said(LABELS, given=True)
    again.worker.start()
    for turn in range(8):
        slow.given = turn < 6
        again.worker.turn()
        again.worker._feedback.read(slow)
    again.worker.turn()
    assert again.worker.metrics.value("feedback_total", outcome="begun_anew") == 0
    assert labels_in(again) == COUNTS


def test_a_label_lifts_the_limit_for_its_stream_from_a_committed_offset_on() -> None:
    decided = Decided()
    broker = begun(decided, atomic=True)
    a_life(broker, decided, 9, atomic=True).worker.run()
    assert set(decided.limit_of.values()) == {100.0, 120.0, 140.0}
    assert alerts(broker) == decided.told(broker)[0]


def test_what_cannot_be_read_is_refused_with_the_reason_and_what_names_no_stream_moves_nothing() -> None:
    class Odd(Said):
        def read(self, seconds: float) -> list[tuple[int, bytes]]:
            return [(0, b"?"), (1, b'{"alert_id": "x", "label": "maybe"}'), (2, b'{"alert_id": "x", "label": "false"}')]

    broker = begun(Decided(), atomic=True)
    one = life(broker)
    one.worker._feedback.read(Odd([]))
    one.worker.run()
    assert one.worker.metrics.value("feedback_total", outcome="refused") == 2
    assert one.worker.metrics.value("feedback_total", outcome="taken") == 0
    assert one.worker.metrics.value("feedback_total", outcome="passed_over") == 1
    assert set(labels_in(one).values()) == {0}


def test_feedback_that_is_away_is_tried_again_and_the_loop_goes_on() -> None:
    class Away(Said):
        def read(self, seconds: float) -> list[tuple[int, bytes]]:
            one.worker._feedback.close()
            raise Unavailable("no broker")

    broker = begun(Decided(), atomic=True)
    one = life(broker)
    one.worker._feedback._run(Away([]))
    one.worker.run()
    assert one.worker.metrics.value("records_total") == len(LATER)


def test_an_error_that_nothing_foresaw_does_not_end_the_hearing() -> None:
    @dataclass
    class Broken(Said):
        """Fails at its first read, and returns its labels at the second. At the third it ends the hearing."""

        reads: int = 0

        def read(self, seconds: float) -> list[tuple[int, bytes]]:
            self.reads += 1
            if self.reads == 1:
                raise KeyError("no error of ours")
            if self.reads == 3:
                hearing.close()
            return super().read(seconds)

    one = life(MemoryBroker())
    hearing = one.worker._feedback
    hearing._over.wait = lambda seconds: False  # type: ignore[method-assign, assignment]
    hearing._run(Broken(LABELS))
    assert hearing._end == len(LABELS)
