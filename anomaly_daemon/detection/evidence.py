"""The evidence of an opened episode: its stream's row as it was before the record that opened it.

From this row and the records that follow, the episode can be recomputed without the stream's whole past.
"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_daemon.detection.state import Rows


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stream's row and the position in the input at which it was taken. `offset` and `index` are those of the record
    that opened the episode, or of the last record read if the clock opened it."""

    key: str
    offset: int
    index: int
    watermark: int
    """The partition's watermark before that record, in epoch microseconds."""
    clock: int | None
    """The event time to which the clock moved the timers if no record did; else None."""
    row: Rows
    """One row: that of the stream."""
