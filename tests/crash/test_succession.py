"""A change of model while the loop runs: wherever the daemon dies, each record is decided by one model, and its alerts
are published once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
import running_sum
from crashing import BUCKETS, POLICIES, TOPIC, ZERO, Clock, Death, Fate, Life, alerts, fill, life, turned
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anomaly_daemon.checkpoint.ledger import find_ledger, find_models
from anomaly_daemon.daemon.policy import CommitPolicy, SnapshotPolicy
from anomaly_daemon.daemon.succession import Deciding
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.transport.memory import MemoryBroker, Stored

STREAMS = ("a", "b", "cc", "dd")
Records = list[tuple[str, int]]
RECORDS = st.lists(st.tuples(st.sampled_from(STREAMS), st.sampled_from((-1, 1, 70, 90, 200))), min_size=1, max_size=30)
LIMITS = st.sampled_from((60.0, 80.0, 100.0))
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def deciding(limit: float) -> Deciding:
    make = running_sum.make_of(limit)
    return Deciding(running_sum.RunningSums(make.model, limit), make)


@dataclass
class Script:
    """A watch that has a model of each limit ready in turn, one at each check by the loop; the last one stays ready."""

    limits: Sequence[float]
    looks: int = 0
    made: dict[float, Deciding] = field(default_factory=dict)

    @property
    def ready(self) -> Deciding | None:
        self.looks += 1
        limit = self.limits[min(self.looks, len(self.limits)) - 1]
        return self.made.setdefault(limit, deciding(limit))

    def start(self) -> None: ...
    def close(self) -> None: ...
    def beside(self, live: object, deciding: object) -> None: ...


@dataclass
class Decided:
    """An observer that records the limit that decided each record. A record that was not committed is seen again."""

    limit_of: dict[tuple[int, int], float] = field(default_factory=dict)

    def __call__(self, observations: Observations, step: Step) -> None:
        for offset, limit in zip(observations.offset_N.tolist(), step.scores.threshold_N.tolist(), strict=True):
            self.limit_of[observations.partition, offset] = limit

    def told(self, broker: MemoryBroker) -> tuple[list[str], dict[object, object]]:
        """Return the alerts that a plain loop over the records gives with these limits, and its final state."""
        told, state = [], {}
        for name in broker.create(TOPIC):
            plain = running_sum.RunningSum(name)
            for offset in range(broker.end(name)):
                batch = broker.read(name, offset, 1)
                if batch and (name.partition, offset) in self.limit_of:
                    plain.limit = self.limit_of[name.partition, offset]
                    step = plain.step(running_sum.PlainDecoder().decode(batch).observations)
                    told += [f"{alert.alert_id}/{alert.event}" for alert in step.alerts]
            state[name] = plain.state
        return sorted(told, key=lambda text: text.split("-")[1]), state


def a_life(
    broker: MemoryBroker, limits: Sequence[float], decided: Decided, fate: Fate | None = None, **more: object
) -> Life:
    first = limits[0]
    options = {"make": running_sum.make_of(first), "limit": first, "watch": Script(limits), "observers": [decided]}
    return life(broker, fate, **{**options, **more})  # type: ignore[arg-type]


@MANY
@example([("a", 90), ("a", 1), ("a", 90)] * 4, 1, [([100.0, 100.0, 60.0, 100.0, 60.0], 1000)], 1)
@given(
    RECORDS,
    st.integers(1, 2),
    st.lists(st.tuples(st.lists(LIMITS, min_size=1, max_size=12), st.integers(1, 90)), max_size=4),
    st.integers(1, 7),
)
def test_each_record_is_decided_by_one_model_and_told_of_once_wherever_deaths_fall(
    records: Records, partitions: int, lives: list[tuple[list[float], int]], max_records: int
) -> None:
    broker, decided = MemoryBroker(), Decided()
    fill(broker, records, partitions)
    for limits, death in lives:
        with suppress(Death):
            a_life(broker, limits, decided, Fate(death), max_records=max_records).worker.run()
    last = a_life(broker, [80.0], decided, max_records=max_records)
    last.worker.run()
    told, state = decided.told(broker)
    assert alerts(broker) == told
    assert {name: owned.detector.state for name, owned in last.worker._members.owned.items()} == state  # type: ignore[attr-defined]


LONG = [(STREAMS[at * 7 % 4], (1, 70, 90, 200, -1, 40)[at * 5 % 6]) for at in range(60)]
CHANGES = [100.0] * 4 + [60.0] * 6 + [100.0] * 6 + [60.0] * 3


def test_one_death_at_each_call_there_is_around_a_change_and_the_way_back() -> None:
    fate, whole = Fate(), MemoryBroker()
    fill(whole, LONG, 2)
    one = a_life(whole, CHANGES, Decided(), fate)
    one.worker.run()
    assert one.worker.metrics.value("model_changes_total") >= 4
    for death in range(1, fate.calls + 1):
        broker, decided = MemoryBroker(), Decided()
        fill(broker, LONG, 2)
        with suppress(Death):
            a_life(broker, CHANGES, decided, Fate(death)).worker.run()
        a_life(broker, [60.0], decided, max_records=3).worker.run()
        assert alerts(broker) == decided.told(broker)[0], death


NEVER = replace(POLICIES, snapshot=SnapshotPolicy(1e6, BUCKETS))


def test_what_was_decided_before_the_change_is_replayed_by_the_model_before() -> None:
    broker, decided = MemoryBroker(), Decided()
    fill(broker, [("a", 90)] * 8, 1)
    turned(a_life(broker, [100.0, 100.0, 60.0], decided, policies=NEVER), 6)  # killed: only ledgers were stored
    ledger = find_ledger(broker.snapshots[ZERO])
    assert ledger is not None
    assert [regime.model for regime in ledger.regimes] == ["limit-100", "limit-60"]
    assert set(find_models(broker.snapshots[ZERO])) == {"limit-100", "limit-60"}
    since = ledger.regimes[1].since
    assert alerts(broker) == [f"{TOPIC}-0-{since}-a-pattern/open"]
    last = a_life(broker, [60.0], decided)
    last.worker.run()
    assert last.worker.metrics.value("restores_total", outcome="restored") == 1
    assert alerts(broker) == decided.told(broker)[0]


def test_an_open_episode_stays_open_and_the_next_model_closes_it() -> None:
    broker, decided = MemoryBroker(), Decided()
    fill(broker, [("a", 150), ("a", 150), ("a", 150), ("a", 150), ("a", 1)], 1)
    a_life(broker, [100.0, 100.0, 120.0], decided, max_records=1).worker.run()
    assert set(decided.limit_of.values()) == {100.0, 120.0}
    assert alerts(broker) == [f"{TOPIC}-0-0-a-pattern/open", f"{TOPIC}-0-0-a-pattern/close"]


def test_a_model_waits_while_anything_is_pending() -> None:
    broker = MemoryBroker()
    fill(broker, [("a", 1)] * 8, 1)
    rarely = replace(NEVER, commit=CommitPolicy(1e6, 5))
    one = turned(a_life(broker, [60.0] * 3 + [80.0], Decided(), max_records=1, policies=rarely, finite=False), 4)
    seen = []
    for _ in range(6):
        one.worker.turn()
        seen.append((broker.positions[ZERO], one.worker.metrics.value("model_changes_total")))
    waited = [committed for committed, changes in seen if not changes]
    assert set(waited) == {1}
    assert seen[len(waited)] == (6, 1)


def test_a_model_waits_for_a_record_past_the_change_before() -> None:
    broker = MemoryBroker()
    fill(broker, [("a", 1)] * 2, 1)
    one = a_life(broker, [100.0, 100.0, 60.0, 60.0, 80.0], Decided(), finite=False)
    turned(one, 20)
    assert one.worker.metrics.value("model_changes_total") == 1
    broker.produce(ZERO, [Stored(9, b"a", b"1")])
    for _ in range(6):
        one.worker.turn()
    assert one.worker.metrics.value("model_changes_total") == 2


def test_without_transactions_the_ledger_names_the_next_model_before_its_first_record_counts() -> None:
    broker, decided = MemoryBroker(), Decided()
    fill(broker, [("a", 90)] * 8, 1)
    one = a_life(broker, [100.0, 100.0, 60.0], decided, atomic=False, policies=NEVER)
    one.worker.start()
    while one.worker.metrics.value("model_changes_total") == 0:
        one.worker.turn()
    ledger = find_ledger(broker.snapshots[ZERO])
    assert ledger is not None
    assert (ledger.regimes[-1].model, ledger.regimes[-1].since) == ("limit-60", ledger.position)
    a_life(broker, [60.0], decided, atomic=False).worker.run()
    assert alerts(broker) == decided.told(broker)[0]


@pytest.mark.parametrize("limits", [[100.0] * 9, [100.0]])
def test_the_model_that_runs_changes_over_to_nothing(limits: list[float]) -> None:
    broker = MemoryBroker()
    fill(broker, LONG, 1)
    one = a_life(broker, limits, Decided(), clock=Clock())
    one.worker.run()
    assert one.worker.metrics.value("model_changes_total") == 0
    assert one.worker.metrics.value("observations_total") > 0
