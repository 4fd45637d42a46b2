"""Reports that a partition has more streams than `limits.streams`. Streams are then forgotten to make room for new
ones, and start from scratch when they come back.

A forgotten stream is not judged for its next `detection.grace_events`, which looks as if all were well. Therefore a
warning is logged.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.transport.ports import Partition

REPEAT_SECONDS = 3600.0
"""Minimum seconds between two log lines about one partition."""


class Crowding:
    """Counts the forgotten streams of all assigned partitions. Used by the loop's thread only."""

    def __init__(self, monotonic: Callable[[], float], log: FilteringBoundLogger) -> None:
        self._monotonic, self._log = monotonic, log
        self._reported_at: dict[Partition, float] = {}
        self._unreported: dict[Partition, int] = {}
        """Streams forgotten since the last log line, by partition."""

    def note(self, partition: Partition, crowded_out: int, streams: int) -> None:
        """Count the streams that were forgotten while a live batch was read, and log a warning if one is due.
        `crowded_out` streams were forgotten to make room; `streams` is what the partition has now."""
        if not crowded_out:
            return
        self._unreported[partition] = self._unreported.get(partition, 0) + crowded_out
        now = self._monotonic()
        if now - self._reported_at.get(partition, -math.inf) >= REPEAT_SECONDS:
            self._reported_at[partition] = now
            self._log.warning(
                "limits.streams is reached: the streams unseen for longest are dropped, and start from scratch "
                "if they return",
                partition=f"{partition.topic}-{partition.partition}",
                streams=streams,
                forgotten=self._unreported.pop(partition),
            )
