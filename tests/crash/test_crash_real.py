"""The real detector under deaths as in `test_crash`: its alerts and its final state are the same to the last bit."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from crashing import Clock, Death, Fate, Mortal

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.checkpoint.snapshot import bucket_records
from anomaly_daemon.configuration import load
from anomaly_daemon.daemon import partition
from anomaly_daemon.daemon.policy import Clocks
from anomaly_daemon.daemon.worker import Worker
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored

OVERRIDES = [
    "source.topic=readings",
    'stream.numeric=["temperature", "vibration"]',
    'stream.key=["id"]',
    "stream.time=time",
    "snapshot.buckets=3",
    "snapshot.seconds=4",
    "detection.grace_events=10",
    "detection.silence.minimum=3",
    "detection.stuck.minimum=3",
    "detection.budget.alarms_per_stream_per_day=200",
]
SETTINGS = load(None, OVERRIDES, {})
STREAMS, EVENTS = 5, 70


OTHER = load(None, [*OVERRIDES, "detection.budget.alarms_per_stream_per_day=2", "detection.stuck.minimum=8"], {})
"""Settings with other rules, which find other anomalies."""
PLAIN = load(None, [*OVERRIDES, "sink.delivery=at_least_once"], {})


def records() -> list[Stored]:
    """Return records of sensors that jump, stop varying, fall silent for a while, or lose a field, and of one that
    starts late."""
    noise, made = np.random.default_rng(1), list[Stored]()
    for at in range(EVENTS):
        for stream in range(STREAMS):
            record: dict[str, Any] = {"id": f"s{stream}", "time": 1_700_000_000 + 60 * at + stream}
            record["temperature"] = float(noise.normal(20, 1)) + 30.0 * (stream == 0 and 25 <= at < 29)
            record["vibration"] = 5.0 if stream == 1 and at > 25 else float(noise.normal(5, 0.2))
            if stream == 2 and at > 20:
                del record["vibration"]
            if not (stream == 3 and 25 < at < 60) and not (stream == 4 and at < 30):
                made.append(Stored(-1, None, json.dumps(record).encode()))
    return made


def filled(chosen: slice = slice(None)) -> MemoryBroker:
    broker = MemoryBroker()
    (partition,) = broker.create("readings")
    broker.produce(partition, records()[chosen])
    return broker


def worker(broker: MemoryBroker, fate: Fate, settings: Settings = SETTINGS) -> Worker:
    atomic = settings.sink.delivery == "exactly_once"
    source = MemorySource(broker, "readings", max_records=11)
    return build_worker(
        settings,
        source=Mortal(source, fate),  # type: ignore[arg-type]
        delivery=MemoryDelivery(broker, source, before=fate, atomic=atomic),
        snapshots=Mortal(MemorySnapshots(broker), fate),  # type: ignore[arg-type]
        clocks=Clocks(Clock(), lambda: 0.0, lambda seconds: None),
    )


def run(broker: MemoryBroker, *deaths: int, settings: Settings = SETTINGS) -> tuple[MemoryBroker, Any, int]:
    """Return the broker, the detector of the last life, and the number of calls in the last life."""
    for death in deaths:
        with suppress(Death):
            worker(broker, Fate(death), settings).run()
    fate = Fate()
    last = worker(broker, fate, settings)
    last.run()
    (owned,) = last._members.owned.values()
    return broker, owned.detector, fate.calls


def told(broker: MemoryBroker) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in broker.records("anomaly-alerts")]


def published(broker: MemoryBroker) -> list[tuple[Any, ...]]:
    """The key, value and headers of every alert."""
    return [(one.key, one.value, one.headers) for one in broker.records("anomaly-alerts")]


def state(detector: Any) -> dict[str, tuple[bytes, bytes]]:
    exported = [detector.export(bucket, 3) for bucket in range(3)]
    return {
        key: (one.arrays["carried"][place].tobytes(), one.arrays["statistics"][place].tobytes())
        for one in exported
        for place, key in enumerate(one.keys)
    }


@pytest.fixture(scope="module")
def whole() -> tuple[list[dict[str, Any]], dict[str, tuple[bytes, bytes]], int]:
    broker, detector, calls = run(filled())
    return told(broker), state(detector), calls


def test_the_uninterrupted_run_has_something_to_lose(whole: Any) -> None:
    alerts, states, calls = whole
    assert {alert["kind"] for alert in alerts} >= {"pattern", "silence", "stuck", "schema"}
    assert {alert["event"] for alert in alerts} == {"open", "update", "close"}
    assert len(states) == STREAMS
    assert calls > 100


@pytest.mark.parametrize("share", [at / 23 for at in range(1, 23)])
def test_a_death_anywhere_changes_neither_alerts_nor_state(whole: Any, share: float) -> None:
    alerts, states, calls = whole
    broker, detector, _ = run(filled(), int(calls * share), 40)
    assert told(broker) == alerts
    assert state(detector) == states


@pytest.mark.parametrize("share", [at / 13 for at in range(1, 13)])
def test_without_transactions_a_death_repeats_alerts_to_the_byte_and_changes_no_state(
    monkeypatch: pytest.MonkeyPatch, whole: Any, share: float
) -> None:
    """The clock of the alerts stands still here, so a repeated alert must not differ in anything. Buckets are written
    in parts, so that a death can leave one incomplete."""
    monkeypatch.setattr(partition, "bucket_records", lambda bucket: bucket_records(bucket, part_bytes=2_000))
    alerts, states, _ = whole
    expected, _, calls = run(filled(), settings=PLAIN)
    broker, detector, _ = run(filled(), int(calls * share), 70, settings=PLAIN)
    assert list(dict.fromkeys(published(broker))) == published(expected)
    assert told(expected) == alerts
    assert state(detector) == states


@pytest.mark.parametrize("share", [at / 9 for at in range(1, 9)])
def test_other_rules_after_a_death_are_in_force_from_the_committed_position_on(whole: Any, share: float) -> None:
    broker = filled()
    with suppress(Death):
        worker(broker, Fate(int(whole[2] * share))).run()
    since = next(iter(broker.positions.values()), 0)
    _, changed, _ = run(broker, 25, 60, settings=OTHER)
    clean = filled(slice(0, since))
    run(clean)
    clean.produce(*clean.create("readings"), records()[since:])
    _, expected, _ = run(clean, settings=OTHER)
    assert told(broker) == told(clean)
    assert state(changed) == state(expected)


def test_a_restart_goes_on_at_the_event_time_that_the_partition_had_reached() -> None:
    """After the restart only a stream that lags has events. Its timers run from the event time that another stream had
    reached."""
    times = [1_700_000_000 + 60 * at for at in range(20)] + [1_699_990_000 + 60 * at for at in range(20)]
    lines = [{"id": f"s{at // 20}", "time": time, "temperature": float(at)} for at, time in enumerate(times)]
    stored = [Stored(-1, None, json.dumps(line).encode()) for line in lines]
    states = []
    for first in (40, 25):
        broker = MemoryBroker()
        (partition,) = broker.create("readings")
        broker.produce(partition, stored[:first])
        _, detector, _ = run(broker)
        if first < 40:
            broker.produce(partition, stored[first:])
            _, detector, _ = run(broker)
        states.append(state(detector))
    assert states[0] == states[1]
