"""More streams than `limits.streams`: for each that is new one is forgotten, and begins anew when it comes back.

A forgotten stream is not judged for its next `detection.grace_events`, which looks like peace. So it is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.transport.ports import Partition

AGAIN_SECONDS = 3600.0
"""Between two lines about one partition."""


class Crowding:
    """Of all our partitions; the loop's alone."""

    def __init__(self, monotonic: Callable[[], float], log: FilteringBoundLogger) -> None:
        self._monotonic, self._log = monotonic, log
        self._told: dict[Partition, float] = {}
        self._since: dict[Partition, int] = {}
        """Streams forgotten since the last line."""

    def note(self, partition: Partition, crowded_out: int, streams: int) -> None:
        """A live batch was read, and so many streams of the partition were forgotten to make room for it."""
        if not crowded_out:
            return
        self._since[partition] = self._since.get(partition, 0) + crowded_out
        now = self._monotonic()
        if now - self._told.get(partition, -math.inf) >= AGAIN_SECONDS:
            self._told[partition] = now
            self._log.warning(
                "limits.streams is reached: the longest unseen streams are forgotten, and begin anew when they come back",
                partition=f"{partition.topic}-{partition.partition}",
                streams=streams,
                forgotten=self._since.pop(partition),
            )
