"""`replay` of alerts that the clock raised, and of records that pack several readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crashing import Clock
from replaying import ZERO, MemoryRecords, ids, recorded, replayed, settings, stored, troubled

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.daemon.policy import Clocks
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.replay.compare import Verdict
from anomaly_daemon.replay.episode import replay
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored
from anomaly_daemon.transport.packed import encode


def quiet(
    broker: MemoryBroker, seconds: Sequence[float], more: list[Stored], snapshots: MemorySnapshots | None = None
) -> None:
    """Run a worker over all records so far, then let each of these times pass by the clock without a record, and then
    produce `more`."""
    clock = Clock(step=0.0)
    source = MemorySource(broker, "readings", finite=False)
    worker = build_worker(
        settings(),
        source=source,
        delivery=MemoryDelivery(broker, source),
        snapshots=snapshots,
        clocks=Clocks(clock, clock, lambda _seconds: None),
        idle_timers=True,
    )

    def turn() -> None:
        for _ in range(4):
            worker.turn()
            clock.now += 1.5

    worker.start()
    turn()
    for pause in seconds:
        clock.now += pause
        turn()
    broker.produce(ZERO, more)
    turn()
    worker.finish()


@pytest.fixture(scope="module")
def silent() -> MemoryBroker:
    """A partition in which nothing arrives for an hour, after which its streams are back."""
    broker = MemoryBroker()
    broker.create("readings")
    records = troubled(160)
    later = [record | {"time": record["time"] + 3700} for record in records[:40]]
    broker.produce(ZERO, stored(records[:400]))
    start = records[399]["time"] - records[0]["time"] + 3700
    quiet(broker, [3600.0], stored([record | {"time": record["time"] + start} for record in later]))
    return broker


def test_a_silence_that_the_clock_raised_is_identical_to_its_close(silent: MemoryBroker) -> None:
    silences = ids(silent, kind="silence", event="open")
    assert silences
    for alert_id in silences:
        then = recorded(silent, alert_id)
        assert then.first.times.append is None, "the clock raised it, no record did"
        assert then.opening is not None
        assert then.opening.clock is not None
        outcome = replayed(silent, alert_id)
        assert outcome.differences == ()
        assert outcome.verdict is Verdict.IDENTICAL
        assert [pair.name for pair in outcome.pairs] == ["open", "close"]


def test_a_stream_that_the_clock_gave_up_is_identical_to_its_close() -> None:
    """The silence opens, and a day later the stream is considered to have ended, with no record in between."""
    broker = MemoryBroker()
    broker.create("readings")
    broker.produce(ZERO, stored(troubled(100)))
    quiet(broker, [3600.0, 100_000.0], [])
    for alert_id in ids(broker, kind="silence", event="close"):
        outcome = replayed(broker, alert_id)
        assert [pair.name for pair in outcome.pairs] == ["open", "close"]
        assert outcome.differences == ()
    assert len(ids(broker, kind="silence", event="close")) == 4


def test_a_silence_that_the_clock_raised_after_a_restart_with_nothing_to_replay_is_identical() -> None:
    broker = MemoryBroker()
    broker.create("readings")
    broker.produce(ZERO, stored(troubled(100)))
    source, snapshots = MemorySource(broker, "readings"), MemorySnapshots(broker)
    build_worker(settings(), source=source, delivery=MemoryDelivery(broker, source), snapshots=snapshots).run()
    assert ids(broker, kind="silence") == []
    quiet(broker, [3600.0], [], MemorySnapshots(broker))
    silences = ids(broker, kind="silence", event="open")
    assert len(silences) == 4
    for alert_id in silences:
        then = recorded(broker, alert_id)
        assert then.first.provenance.last_offset == 399
        assert replayed(broker, alert_id).verdict is Verdict.IDENTICAL


UNREADABLE = [Stored(1_700_100_000_000_000, None, b"no JSON")]


@pytest.mark.parametrize("evidence", [True, False])
def test_what_the_clock_did_after_a_record_that_holds_no_observation_is_identical(evidence: bool) -> None:
    """A restarted daemon's position is after such a record, so the streams that the clock gives up then name it as
    their last record."""
    broker = MemoryBroker()
    broker.create("readings")
    broker.produce(ZERO, stored(troubled(100)))
    quiet(broker, [3600.0], UNREADABLE, MemorySnapshots(broker))
    quiet(broker, [100_000.0], [], MemorySnapshots(broker))
    given_up = ids(broker, kind="silence", event="close")
    assert len(given_up) == 4
    for alert_id in given_up:
        then = recorded(broker, alert_id)
        assert [one.provenance.last_offset for one in then.messages] == [399, 400]
        outcome = replayed(broker, alert_id, recorded=then if evidence else replace(then, opening=None))
        assert outcome.differences == ()
        assert [pair.name for pair in outcome.pairs] == ["open", "close"]


def test_a_silence_that_the_clock_raised_behind_a_record_without_observation_is_identical_without_evidence() -> None:
    """Here the record without observation comes before a batch that has some."""
    broker = MemoryBroker()
    broker.create("readings")
    records = troubled(160)
    broker.produce(ZERO, [*stored(records[:400]), *UNREADABLE])
    source, snapshots = MemorySource(broker, "readings"), MemorySnapshots(broker)
    build_worker(settings(), source=source, delivery=MemoryDelivery(broker, source), snapshots=snapshots).run()
    back = [record | {"time": record["time"] + 3700} for record in records[400:440]]
    quiet(broker, [3600.0], stored(back), MemorySnapshots(broker))
    silences = ids(broker, kind="silence", event="open")
    assert len(silences) == 4
    for alert_id in silences:
        then = recorded(broker, alert_id)
        assert then.first.provenance.last_offset == 400
        assert then.messages[-1].event == "close"
        outcome = replayed(broker, alert_id, recorded=replace(then, opening=None))
        assert outcome.differences == ()


def packed(events: int = 200) -> list[Stored]:
    """Return messages of twenty readings each, of two streams in turn. One stream jumps in the middle of a message."""
    noise = np.random.default_rng(2)
    messages = []
    for first in range(0, events, 10):
        at = np.repeat(np.arange(first, first + 10), 2)
        values = noise.normal(20, 0.5, (20, 2))
        values[(at >= 123) & (at < 131) & (np.arange(20) % 2 == 1)] += 30
        times = (1_700_000_000 + 60 * at) * 1_000_000
        messages.append(encode(times, values, ["a", "b"], np.arange(20) % 2))
    return [Stored(-1, None, message) for message in messages]


def test_an_episode_that_opens_within_a_packed_record_is_identical() -> None:
    overrides = ("stream.format=packed", "stream.key=[]", "stream.time=null")
    broker = MemoryBroker()
    broker.create("readings")
    broker.produce(ZERO, packed())
    source = MemorySource(broker, "readings")
    build_worker(settings(*overrides), source=source, delivery=MemoryDelivery(broker, source)).run()
    opened: list[Any] = ids(broker, kind=Kind.PATTERN)
    assert opened
    for alert_id in opened:
        then = recorded(broker, alert_id)
        outcome = replay(settings(*overrides), read_model("pretrained"), then, MemoryRecords(broker))
        assert outcome.differences == ()
    openings = [recorded(broker, one).opening for one in opened]
    assert any(one is not None and one.index > 0 for one in openings)
