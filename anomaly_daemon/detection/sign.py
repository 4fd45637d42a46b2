"""Events that mute windows skip: they are signs that their streams are alive, and nothing else.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import nan

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection import timers
from anomaly_daemon.detection.mute import Muted
from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.detection.round import Round
from anomaly_daemon.detection.scores import Status
from anomaly_daemon.detection.telling import Raised

SILENCE_REFERS_TO = ("last_offset", "last_index", "sign_time")
"""The columns that the next silence refers to. `last_time` is that of the last event that was learned, and does not
change here, because gaps are counted from it."""


class Sign(Round):
    """One skipped event of each of B streams. It ends a silence and restarts the timers, and the next silence refers to
    this record: if it referred to an earlier one, it would be reported under the id of the silence before. Everything
    else stored for the streams is unchanged."""

    def run(self) -> list[Raised]:
        self.scores.status_N[self.at_B] = Status.MUTED
        self._keep(self._begun())
        if len(self.rows) == 0:
            return []
        raised = self._timers() if self.due else []
        arrived, waits = self.arrived, self.numbers.waits
        for row_Q, now in zip(self.rows.statistics_BQ, np.maximum(arrived.time_B, arrived.watermark_B), strict=True):
            timers.beat(row_Q, self.at.timers, now, nan, waits)
        for name, value_B in zip(SILENCE_REFERS_TO, (arrived.offset_B, arrived.index_B, arrived.time_B), strict=True):
            self.rows[name] = value_B
        self.teller.slab.scatter(self.row_B, self.rows)
        return raised

    def _begun(self) -> npt.NDArray[np.bool_]:
        """Return the rows whose stream has begun and is not due to be forgotten. A stream that has not begun is not
        created by this event. Streams that are due are left to the next event that counts, or to the end of the batch.
        """
        rows = self.rows
        return np.asarray((rows["seen"] > 0) & ~timers.forgotten(rows, self.arrived.watermark_B, self.rules))


def split(rounds: Iterable[Int64], muted: Muted | None) -> Iterator[tuple[type[Round], Int64]]:
    """Yield the events of each round with the class that handles them: `Sign` for skipped events, `Round` for the
    others."""
    for at_B in rounds:
        if muted is None:
            yield Round, at_B
            continue
        skipped_B = muted.skipped_N[at_B]
        yield from (
            (kind, some_B) for kind, some_B in ((Sign, at_B[skipped_B]), (Round, at_B[~skipped_B])) if len(some_B)
        )
