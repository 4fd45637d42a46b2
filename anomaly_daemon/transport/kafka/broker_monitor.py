"""Tracks whether brokers still report the log end offsets of a consumer's partitions, and how far behind it is."""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition

from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.kafka.ends import Ends

SILENT_SECONDS = 10.0
"""A broker that has not answered for longer than this is silent. By then twenty answers are missing."""


class BrokerMonitor:
    """The reports for one consumer, whose thread calls `update`. Any thread may read `silent_seconds` and `lag`."""

    def __init__(self, ends: Ends, consumer: Any, limit_seconds: float) -> None:
        self._ends, self._consumer, self._limit = ends, consumer, limit_seconds
        self._silent_since: dict[TopicPartition, float] = {}
        self._updated_at = 0.0
        self._lags: dict[TopicPartition, int] = {}
        self.silent_seconds = 0.0
        """Longest time for which a partition has not been reported; 0 up to `SILENT_SECONDS`."""
        self.lag: int | None = None
        """Number of records after those that were read; None while that is not known."""

    def update(self, now: float) -> None:
        """Take in the new reports. To be called after each poll that asks for all partitions. Raises Unavailable when a
        partition has not been reported for longer than `limit_seconds`."""
        self._updated_at, ends = now, self._ends.pop_reported()
        owed = self._ends.owed()
        self._silent_since = {name: now if name in ends else self._silent_since.get(name, now) for name in owed}
        silent = max((now - since for since in self._silent_since.values()), default=0.0)
        self.silent_seconds = silent if silent > SILENT_SECONDS else 0.0
        if silent > self._limit:
            raise Unavailable(f"no broker has answered for {silent:.0f} s (limits.retry_seconds)")
        if self.silent_seconds:
            self.lag = None
        elif ends:
            new = {name: self._lag_of(name, end) for name, end in ends.items()}
            self._lags = {name: new.get(name, self._lags.get(name, 0)) for name in self._consumer.assignment()}
            self.lag = sum(self._lags.values())

    def exclude_pause(self, now: float) -> None:
        """Take away the time since the last call of this or of `update` from that of each partition's silence: the
        partitions were paused, so that no end was asked for."""
        passed, self._updated_at = now - self._updated_at, now
        self._silent_since = {name: since + passed for name, since in self._silent_since.items()}

    def _lag_of(self, name: TopicPartition, end: int) -> int:
        place = self._consumer.position(name, timeout_ms=0)
        return max(0, end - (end if place is None else place))
