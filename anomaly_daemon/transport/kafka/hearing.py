"""Tracks whether brokers still report the log end offsets of a consumer's partitions, and how far behind it is.

A "hearing" is one such report.
"""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition

from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.kafka.ends import Ends

SILENT_SECONDS = 10.0
"""A broker that has not answered for longer than this is silent. By then twenty answers are missing."""


class Hearing:
    """The reports for one consumer, whose thread calls `look`. Any thread may read `silent_seconds` and `behind`."""

    def __init__(self, ends: Ends, consumer: Any, patience_seconds: float) -> None:
        self._ends, self._consumer, self._patience = ends, consumer, patience_seconds
        self._since: dict[TopicPartition, float] = {}
        self._looked = 0.0
        self._behind: dict[TopicPartition, int] = {}
        self.silent_seconds = 0.0
        """Longest time for which a partition has not been reported; 0 up to `SILENT_SECONDS`."""
        self.behind: int | None = None
        """Number of records after those that were read; None while that is not known."""

    def look(self, now: float) -> None:
        """Take in the new reports. To be called after each poll that asks for all partitions. Raises Unavailable when a
        partition has not been reported for longer than `patience_seconds`."""
        self._looked, ends = now, self._ends.take()
        owed = self._ends.owed()
        self._since = {name: now if name in ends else self._since.get(name, now) for name in owed}
        silent = max((now - since for since in self._since.values()), default=0.0)
        self.silent_seconds = silent if silent > SILENT_SECONDS else 0.0
        if silent > self._patience:
            raise Unavailable(f"no broker has answered for {silent:.0f} s (limits.retry_seconds)")
        if self.silent_seconds:
            self.behind = None
        elif ends:
            left = {name: self._left(name, end) for name, end in ends.items()}
            self._behind = {name: left.get(name, self._behind.get(name, 0)) for name in self._consumer.assignment()}
            self.behind = sum(self._behind.values())

    def not_asked(self, now: float) -> None:
        """Take away the time since the last call of this or of `look` from that of each partition's silence: the
        partitions were paused, so that no end was asked for."""
        passed, self._looked = now - self._looked, now
        self._since = {name: since + passed for name, since in self._since.items()}

    def _left(self, name: TopicPartition, end: int) -> int:
        place = self._consumer.position(name, timeout_ms=0)
        return max(0, end - (end if place is None else place))
