"""A batch taken in parts, so that alerts of its first records need not wait for the last (where they wait for no commit).

A part costs little where it holds as many streams as a round does. Where records come stream by stream, each part takes as
many rounds as the whole would, and a daemon that takes parts of what it is behind with falls behind for good. So what a
record costs in a part is held against what it costs in a batch taken whole, and where it is far more, whole batches follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from anomaly_daemon.daemon.partition import Owned, cut
from anomaly_daemon.transport.ports import RecordBatch

Take = Callable[[Owned, RecordBatch], None]

PART_SECONDS = 0.02
"""The alert of a part's first record waits about as long for those after it."""
FIRST_RECORDS = 100
"""The share while the pace is not known."""
DEARER = 2.0
"""A part may cost so many times what its records would in a whole batch: less than that may be the machine's mood."""
WHOLE_BATCHES = 16
"""That are more than a part, before parts are tried again."""


@dataclass(slots=True)
class Pace:
    """How many records fit into a share of `seconds`, by what the last one took."""

    monotonic: Callable[[], float]
    seconds: float
    least: int
    records: int = FIRST_RECORDS

    def timed(self, take: Take, one: Owned, batch: RecordBatch) -> float:
        """Take it; the seconds that took. A rest that is quickly done says little: most of it is what every call costs."""
        began = self.monotonic()
        take(one, batch)
        took = self.monotonic() - began
        if len(batch) >= self.records or took > self.seconds:
            self.records = self.share(len(batch), took)
        return took

    def share(self, records: int, took: float) -> int:
        """How many records the next share has, when the last took so long for so many."""
        return max(self.least, int(records * self.seconds / took)) if took > 0 else 2 * records


class Parts:
    """How batches of live partitions are taken."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._pace = Pace(monotonic, PART_SECONDS, 1)
        self._each = math.nan
        """Seconds of a record, in the last batch taken whole."""
        self._whole = 1
        """Batches to be taken whole from here on."""

    def take(self, take: Take, one: Owned, batch: RecordBatch) -> None:
        """All of it, in one or more calls, in order."""
        pace, rest = self._pace, batch
        while len(rest) > pace.records and not self._whole:
            now, rest = cut(rest, [int(rest.offsets[pace.records])])
            if pace.timed(take, one, now) > DEARER * self._each * len(now):
                self._whole = WHOLE_BATCHES
        more = len(rest) > pace.records
        took = pace.timed(take, one, rest)
        if more:
            self._each, self._whole = took / len(rest), self._whole - 1
