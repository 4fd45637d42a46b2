"""One record from the future: its effects on its stream and its partition are reported while they last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from crashing import TOPIC, ZERO, Clock, filled, life
from running_sum import MAKE, RunningSum
from structlog.testing import CapturingLogger

from anomaly_daemon.daemon.lateness import IN_A_ROW, JUMP_SECONDS, LINES_A_MINUTE, REPEAT_SECONDS, Lateness
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.transport.memory import Stored
from anomaly_daemon.transport.times import LATEST

S = 1_000_000
NOON = 43_200
"""Noon of the epoch's first day, in seconds."""


class World:
    """One partition and its records as (stream, event time in seconds), whose append time is `NOON`."""

    def __init__(self) -> None:
        self.now, self.log, self.detector = 100.0, CapturingLogger(), RunningSum(ZERO)
        self.owned = Owned(ZERO, self.detector, MAKE, SnapshotPolicy(), 0.0, 0, 0, [], [], [], [], b"", live=True)
        log: Any = self.log
        self.lateness = Lateness(lambda: self.now, log)

    def reads(self, *records: tuple[str, float], append: float = NOON) -> None:
        keys = tuple(dict.fromkeys(key for key, _ in records))
        count, before = len(records), self.detector.watermark
        batch = Observations(
            TOPIC,
            0,
            keys,
            np.array([keys.index(key) for key, _ in records], np.int32),
            np.arange(count, dtype=np.int64),
            np.zeros(count, np.int32),
            np.array([int(time * S) for _, time in records], np.int64),
            np.full(count, int(append * S), np.int64),
            np.ones((count, 1)),
            np.zeros((count, 1), np.uint8),
            np.zeros((count, 0), np.int64),
            {},
        )
        self.lateness.note(self.owned, batch, self.detector.step(batch).scores, before)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [{"event": call.args[0], **call.kwargs} for call in self.log.calls]


@pytest.fixture
def world() -> World:
    return World()


LATE = "every record of a stream is late and skipped, until their times pass the newest time of the stream"
AHEAD = (
    "a record is far ahead of its append time: the event time of its partition jumps ahead, so silences may be false"
)


def test_a_stream_that_is_late_all_the_time_is_told_once_an_hour_with_what_came_before(world: World) -> None:
    world.reads(("press", NOON + 500.0))
    for second in range(IN_A_ROW - 1):
        world.reads(("press", NOON + second))
    assert world.told == []
    for second in range(IN_A_ROW - 1, 100):
        world.reads(("press", NOON + second))
    first = {
        "event": LATE,
        "partition": f"{TOPIC}-0",
        "stream": "press",
        "records": IN_A_ROW,
        "time": "1970-01-01T12:00:19.000000Z",
        "passed": "1970-01-01T12:08:20.000000Z",
        "behind_seconds": 481,
    }
    assert world.told == [first]
    world.now += REPEAT_SECONDS
    world.reads(("press", NOON + 100), ("press", NOON + 101))
    assert [(line["records"], line["behind_seconds"]) for line in world.told] == [(IN_A_ROW, 481), (102, 399)]


def test_a_stream_behind_the_last_time_there_is_is_told(world: World) -> None:
    world.reads(("press", NOON))
    world.detector.state["press"][2] = LATEST
    for second in range(IN_A_ROW):
        world.reads(("press", NOON + second), append=-1.0)
    assert [line["passed"] for line in world.told] == ["9999-12-31T23:59:59.999999Z"]


def test_records_that_overtake_each_other_are_not_told(world: World) -> None:
    for second in range(0, 10 * IN_A_ROW, 2):
        world.reads(("press", NOON + second + 1), ("press", NOON + second))
    for second in range(IN_A_ROW - 1):
        world.reads(("press", NOON + second))
    world.reads(("press", NOON + 10 * IN_A_ROW), ("oven", NOON))
    world.reads(("press", NOON + 1))
    assert world.told == []


def test_many_streams_that_are_late_are_told_some_a_minute(world: World) -> None:
    streams = [f"press-{number}" for number in range(LINES_A_MINUTE + 5)]
    world.reads(*((name, NOON + 500.0) for name in streams))
    for second in range(IN_A_ROW + 3):
        world.reads(*((name, NOON + second) for name in streams))
    assert len(world.told) == LINES_A_MINUTE
    world.now += 61.0
    world.reads(*((name, NOON + 50) for name in streams))
    assert {line["stream"] for line in world.told} == set(streams), "each once, and none left out"
    assert len(world.told) == len(streams)


def test_a_record_far_ahead_of_its_append_and_of_all_before_it_is_told(world: World) -> None:
    world.reads(("press", NOON - 1.0))
    world.reads(("press", NOON), ("oven", NOON + 80_000.0), ("press", NOON + 1.0))
    told = {"partition": f"{TOPIC}-0", "stream": "oven", "offset": 1, "ahead_seconds": 80_000}
    assert world.told == [{"event": AHEAD, **told, "time": "1970-01-02T10:13:20.000000Z"}]
    world.reads(("oven", NOON + 160_000.0))
    assert len(world.told) == 1, "of a partition one an hour"
    world.now += REPEAT_SECONDS
    world.reads(("oven", NOON + 240_000.0))
    assert len(world.told) == 2


@pytest.mark.parametrize(
    ("times", "append"),
    [
        ((NOON - 1.0, NOON + JUMP_SECONDS), NOON),
        ((NOON + 7_199.0, NOON + 7_200.0), NOON),
        ((NOON + 80_000.0,), NOON),
        ((NOON - 1.0, NOON + 80_000.0), NOON + 80_000.0),
        ((NOON - 1.0, NOON + 80_000.0), -1 / S),
    ],
    ids=["a little", "all ahead, as local time is", "the first ever", "after a pause", "no append time, as in files"],
)
def test_what_is_no_jump_is_not_told(world: World, times: tuple[float, ...], append: float) -> None:
    for time in times:
        world.reads(("press", time), append=append)
    assert world.told == []


def test_the_loop_tells_of_it() -> None:
    broker = filled([])
    broker.produce(ZERO, [Stored(time * S, b"press", b"1") for time in (NOON, *range(10, 10 + 2 * IN_A_ROW))])
    one = life(broker, clock=Clock(step=0.0))
    log = one.worker._intake._lateness._log = CapturingLogger()  # type: ignore[assignment]
    one.worker.run()
    assert [call.args[0] for call in log.calls] == [LATE]
