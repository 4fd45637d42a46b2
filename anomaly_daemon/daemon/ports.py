"""The transport of one worker, as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

from anomaly_daemon.transport.ports import Delivery, EndedLog, SnapshotStore, Source, Telling


@dataclass(frozen=True, slots=True)
class Ports:
    """The transport of one worker. Without a snapshot store, every run starts without state at the committed position."""

    source: Source
    delivery: Delivery
    snapshots: SnapshotStore | None = None
    atomic: bool = True
    """Whether a commit becomes visible at once or not at all. Otherwise it becomes visible by parts, see
    `transport.ports.Delivery`."""
    aside: bool = False
    """Whether take-overs ask the source and the store on a thread of their own."""
    feedback: EndedLog | None = None
    """The feedback log: labels that people give to alerts."""
    closing: Sequence[Callable[[], None]] = ()
    """Functions that are called, in this order, after the source and the delivery were closed."""

    @property
    def telling(self) -> Telling | None:
        """The delivery, if alerts may be sent ahead of their commit; else None."""
        return None if self.atomic else cast(Telling, self.delivery)

    def close(self) -> None:
        with ExitStack() as stack:  # the last first, and each of them even if another raises
            for close in (*reversed(self.closing), self.delivery.close, self.source.close):
                stack.callback(close)
