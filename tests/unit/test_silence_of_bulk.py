"""Producers that send in bulk: a partition without records for longer than its streams' patience."""

from __future__ import annotations

import json

import pytest
from crashing import Clock

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.configuration import load
from anomaly_daemon.daemon.policy import Clocks
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySource, Stored
from anomaly_daemon.transport.ports import Partition

READINGS, UPLOADS, START = 20, 3, 1_772_323_200


@pytest.mark.parametrize(("minimum", "kinds"), [(5, {"silence"}), (READINGS + 1, set())])
def test_a_pause_between_uploads_is_no_silence_where_the_minimum_exceeds_the_readings_of_one(
    minimum: int, kinds: set[str]
) -> None:
    """As docs/operations.md advises. Without it the pause is one: nothing tells it from a producer that stopped."""
    keys = ["source.topic=t", "source.poll_seconds=0.001", 'stream.key=["s"]', "stream.time=t", 'stream.numeric=["v"]']
    settings = load(None, [*keys, f"detection.silence.minimum={minimum}"], {})
    broker, clock = MemoryBroker(), Clock(step=0.0)
    broker.create("t")
    source = MemorySource(broker, "t", finite=False)
    delivery = MemoryDelivery(broker, source)
    clocks = Clocks(clock, lambda: 0.0, lambda seconds: None)
    worker = build_worker(settings, source=source, delivery=delivery, clocks=clocks, idle_timers=True)
    worker.start()
    for number in range(UPLOADS * READINGS):
        text = json.dumps({"s": "pump", "t": START + 10 * number, "v": number % 7}).encode()
        broker.produce(Partition("t", 0), [Stored(-1, None, text)])
        if number % READINGS == READINGS - 1:
            for _ in range(READINGS * 5):  # the time until the next upload
                worker.turn()
                clock.now += 2.0
    assert {json.loads(record.value or b"")["kind"] for record in broker.records("anomaly-alerts")} == kinds
