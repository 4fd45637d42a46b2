"""Which partitions are ours: rebalances told by the source, acted on by the loop.

`lock` is held while partitions are changed, and while a commit is delivered; never while the source is waited for, whose
thread may be waiting for it in `revoked`. `assigned` and `lost` only queue what happened. `revoked` takes the lock,
bounded by the stop deadline, because what is pending must be visible before it returns; if it cannot have the lock the
partition counts as lost: nothing of it was committed, so its next owner repeats it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.errors import Evicted, Unavailable
from anomaly_daemon.transport.ports import Partition


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """One assignment of a partition, told from the next by its identity; `at` is monotonic."""

    at: float


class Membership:
    """The listener of a source. Everything but the three calls of the listener needs the lock."""

    def __init__(
        self,
        flush: Callable[[Sequence[Owned]], None],
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
        hand_over_seconds: float,
    ) -> None:
        """`flush` makes everything pending of some (live) partitions visible, within a deadline of its own."""
        self._flush, self._monotonic, self._log, self._seconds = flush, monotonic, log, hand_over_seconds
        self._changes: deque[tuple[str, list[Partition]]] = deque()
        self.lock = threading.RLock()
        self.queued: dict[Partition, Assignment] = {}
        """Assigned, and waiting for the loop to restore them."""
        self.owned: dict[Partition, Owned] = {}
        self.joined = False
        """The group has given us something, be it no partition at all."""
        self.abandoned = False
        """The loop has failed: what is pending is rebuilt by whoever comes next, and must not be delivered."""
        self.failure: Exception | None = None
        """What a hand-over failed with: it ends the loop, not the source's thread."""

    def assigned(self, partitions: Iterable[Partition]) -> None:
        self._changes.append(("assigned", list(partitions)))

    def lost(self, partitions: Iterable[Partition]) -> None:
        self._changes.append(("lost", list(partitions)))

    def revoked(self, partitions: Iterable[Partition]) -> None:
        gone = list(partitions)
        if not self.abandoned and self.failure is None and self.lock.acquire(timeout=self._seconds):
            try:
                self.drain()
                self._hand_over([self.owned[partition] for partition in gone if partition in self.owned])
            finally:
                self.lock.release()
        self._changes.append(("revoked", gone))

    def _hand_over(self, leaving: Sequence[Owned]) -> None:
        try:
            self._flush([owned for owned in leaving if owned.live])
        except (Unavailable, Evicted) as error:
            self._log.warning("not handed over in good order: the next owner repeats it", error=str(error))
        except Exception as error:  # raised in the loop, by `drain`: the client would only log it
            self.failure = error
        for owned in leaving:
            self.owned.pop(owned.partition)

    def settled(self) -> bool:
        """Nothing waits to be acted on. Safe without the lock."""
        return not self.queued and not self._changes

    def drain(self) -> None:
        """Act on the rebalances that were queued, in order."""
        if self.failure is not None:
            raise self.failure
        while self._changes:
            kind, partitions = self._changes.popleft()
            self.joined = True
            self._log.info("partitions", change=kind, partitions=[f"{p.topic}-{p.partition}" for p in partitions])
            for partition in partitions:
                self.owned.pop(partition, None)
                self.queued.pop(partition, None)
                if kind == "assigned":
                    self.queued[partition] = Assignment(self._monotonic())

    def adopt(self, owned: Owned, assignment: Assignment) -> bool:
        """A queued partition is restored. False when it left, or came anew, while its snapshots were read."""
        self.drain()
        if self.queued.get(owned.partition) is not assignment:
            return False
        del self.queued[owned.partition]
        self.owned[owned.partition] = owned
        return True

    def evicted(self) -> None:
        """The group has put us out, or refuses us: what is not committed is dropped. The source, told to start over, says
        `lost`, then `assigned`."""
        self.owned.clear()
        self.queued.clear()
        self.joined = False

    def live(self) -> list[Owned]:
        return [owned for owned in self.owned.values() if owned.live]
