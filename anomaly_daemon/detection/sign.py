"""Events that mute windows leave out: signs that their streams are alive, and nothing else.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import nan

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import timers
from anomaly_daemon.detection.mute import Hushed
from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.detection.round import Round
from anomaly_daemon.detection.scores import Status
from anomaly_daemon.detection.telling import Told

STOOD_ON = ("last_offset", "last_index", "sign_time")
"""What the next silence stands on. `last_time` is of the last event that was learned, and stays: gaps count from it."""


class Sign(Round):
    """One such event of each of B streams: a silence is over, the timers run anew, and the next silence stands on this
    record: on an earlier one it would be told under the id of the one before. What is known of them stays."""

    def run(self) -> list[Told]:
        self.scores.status_N[self.at_B] = Status.MUTED
        self._keep(self._begun())
        if len(self.rows) == 0:
            return []
        told = self._timers() if self.due else []
        arrived, waits = self.arrived, self.numbers.waits
        for row_Q, now in zip(self.rows.statistics_BQ, np.maximum(arrived.time_B, arrived.watermark_B), strict=True):
            timers.beat(row_Q, self.at.timers, now, nan, waits)
        for name, value_B in zip(STOOD_ON, (arrived.offset_B, arrived.index_B, arrived.time_B), strict=True):
            self.rows[name] = value_B
        self.teller.slab.scatter(self.row_B, self.rows)
        return told

    def _begun(self) -> npt.NDArray[np.bool_]:
        """The rows whose stream has begun, and is not to be forgotten by now. Of the others nobody knows, and the event
        makes none; those to be forgotten are left to the next event that counts, or to the end of the batch."""
        rows = self.rows
        return np.asarray((rows["seen"] > 0) & ~timers.forgotten(rows, self.arrived.watermark_B, self.rules))


def split(rounds: Iterable[Int64], hushed: Hushed | None) -> Iterator[tuple[type[Round], Int64]]:
    """Each round, and what becomes of it."""
    for at_B in rounds:
        if hushed is None:
            yield Round, at_B
            continue
        left_B = hushed.left_N[at_B]
        yield from ((kind, some_B) for kind, some_B in ((Sign, at_B[left_B]), (Round, at_B[~left_B])) if len(some_B))
