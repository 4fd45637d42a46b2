"""For how long brokers have not reported the ends of partitions, while these are asked for and while they are not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka import TopicPartition

from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.kafka.broker_monitor import SILENT_SECONDS, BrokerMonitor

HERE, THERE = TopicPartition("alerts", 0), TopicPartition("alerts", 1)
"""Partitions whose leaders are two brokers."""


class Ends:
    """Implements what `BrokerMonitor` calls of `ends.Ends`. Both partitions are asked for."""

    def __init__(self) -> None:
        self.reported: dict[TopicPartition, int] = {}

    def pop_reported(self) -> dict[TopicPartition, int]:
        found, self.reported = self.reported, {}
        return found

    def owed(self) -> set[TopicPartition]:
        return {HERE, THERE}


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def monitor(ends: Ends) -> BrokerMonitor:
    consumer = SimpleNamespace(assignment=lambda: {HERE, THERE}, position=lambda name, timeout_ms: 7)
    made = BrokerMonitor(ends, consumer, limit_seconds=60.0)  # type: ignore[arg-type]
    ends.reported = {HERE: 10, THERE: 7}
    made.update(100.0)
    return made


def test_a_broker_that_reports_no_end_is_silent_and_then_given_up(monitor: BrokerMonitor, ends: Ends) -> None:
    assert (monitor.lag, monitor.silent_seconds) == (3, 0.0)
    ends.reported = {HERE: 10}
    monitor.update(100.0 + SILENT_SECONDS + 1.0)
    assert (monitor.lag, monitor.silent_seconds) == (None, SILENT_SECONDS + 1.0)
    ends.reported = {HERE: 10}
    with pytest.raises(Unavailable, match="for 61 s"):
        monitor.update(161.0)


def test_the_time_in_which_no_end_is_asked_for_is_no_silence(monitor: BrokerMonitor, ends: Ends) -> None:
    """A message waits for its target for two hours. Then one broker answers before the other, and the silence of the
    other used to be that of two hours, which ended `forward`."""
    for second in range(7200):
        monitor.exclude_pause(100.0 + second)
    ends.reported = {HERE: 10}
    monitor.update(7300.0)
    assert monitor.silent_seconds == 0.0
    with pytest.raises(Unavailable, match="for 62 s"):
        monitor.update(7361.0)
