"""What an opened episode stands on: its stream's row as it was before the record that opened it.

With it and the records from there on, the episode can be computed again without the stream's whole past.
"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_daemon.detection.state import Rows


@dataclass(frozen=True, slots=True)
class Evidence:
    """`offset` and `index` are of the record that opened the episode; of the last record read where the clock did."""

    key: str
    offset: int
    index: int
    watermark: int
    """The partition's event time before that record, epoch microseconds."""
    clock: int | None
    """The event time at which the timers fell, where no record brought it; else None."""
    row: Rows
    """One row: the stream's."""
