"""The transport of one worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

from anomaly_daemon.transport.ports import Delivery, EndedLog, SnapshotStore, Source, Telling


@dataclass(frozen=True, slots=True)
class Ports:
    """The transport of one worker. Without a snapshot store every run starts anew at the committed position."""

    source: Source
    delivery: Delivery
    snapshots: SnapshotStore | None = None
    atomic: bool = True
    """Whether a commit becomes visible at once or not at all; otherwise by its parts, see `ports.Delivery`."""
    aside: bool = False
    """Take-overs ask the source and the store from a thread of their own."""
    feedback: EndedLog | None = None
    """What people say of alerts."""
    closing: Sequence[Callable[[], None]] = ()
    """Called after the source and the delivery were closed."""

    @property
    def telling(self) -> Telling | None:
        """The delivery, where alerts may go ahead of their commit."""
        return None if self.atomic else cast(Telling, self.delivery)

    def close(self) -> None:
        with ExitStack() as stack:  # the last first, and each of them whatever another raises
            for close in (*reversed(self.closing), self.delivery.close, self.source.close):
                stack.callback(close)
