"""Which partitions are assigned to this member. The source reports rebalances, and the loop acts on them.

`lock` is held while partitions are changed, and while a commit is delivered. It is never held while waiting for the
source, because the source's thread may be waiting for the lock in `revoked`. `assigned` and `lost` only queue what
happened. `revoked` takes the lock, because what is pending must be visible before it returns; it waits for the lock no
longer than the stop deadline. If it cannot get the lock, the partition counts as lost: nothing of it was committed, so
its next owner repeats it.
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
    """One assignment of a partition, distinguished from the next one by identity. `at` is its monotonic time."""

    at: float


class Membership:
    """The rebalance listener of a source. Everything but the three calls of the listener and `settled` needs the lock."""

    def __init__(
        self,
        flush: Callable[[Sequence[Owned]], None],
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
        hand_over_seconds: float,
    ) -> None:
        """`flush` makes everything pending of some (live) partitions visible, within its own deadline.
        `hand_over_seconds` limits how long `revoked` waits for the lock."""
        self._flush, self._monotonic, self._log, self._seconds = flush, monotonic, log, hand_over_seconds
        self._changes: deque[tuple[str, list[Partition]]] = deque()
        self.lock = threading.RLock()
        self.queued: dict[Partition, Assignment] = {}
        """Partitions that are assigned and wait for the loop to restore them."""
        self.owned: dict[Partition, Owned] = {}
        self.joined = False
        """Whether the group has given this member an assignment, even one without partitions."""
        self.abandoned = False
        """Whether the loop has failed. What is pending is then rebuilt by the next owner, and must not be delivered."""
        self.failure: Exception | None = None
        """The error with which a hand-over failed. It ends the loop, not the source's thread."""

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
            self._log.warning(
                "partitions were not handed over cleanly: their next owner repeats what was not committed",
                error=str(error),
            )
        except Exception as error:  # `drain` raises it in the loop: the client would only log it
            self.failure = error
        for owned in leaving:
            self.owned.pop(owned.partition)

    def settled(self) -> bool:
        """Whether no rebalance and no queued partition waits to be acted on. Safe to call without the lock."""
        return not self.queued and not self._changes

    def drain(self) -> None:
        """Act on the queued rebalances, in order. Raises the error of a hand-over that failed."""
        if self.failure is not None:
            raise self.failure
        while self._changes:
            kind, partitions = self._changes.popleft()
            self._log.info(
                "partition assignment changed", change=kind, partitions=[f"{p.topic}-{p.partition}" for p in partitions]
            )
            for partition in partitions:
                self.owned.pop(partition, None)
                self.queued.pop(partition, None)
                if kind == "assigned":
                    self.queued[partition] = Assignment(self._monotonic())
            if kind == "assigned":
                self.joined = True
            elif kind == "lost":  # with nothing left, the group may have put this member out
                self.joined = self.joined and bool(self.owned or self.queued)

    @property
    def complete(self) -> bool:
        """Whether this member has an assignment, and `owned` has all of its partitions: none is still to be restored."""
        return self.joined and not self.queued

    def adopt(self, owned: Owned, assignment: Assignment) -> bool:
        """Make a queued partition, now restored, one of the owned ones. Returns False if it left, or was assigned
        again, while its snapshots were read."""
        self.drain()
        if self.queued.get(owned.partition) is not assignment:
            return False
        del self.queued[owned.partition]
        self.owned[owned.partition] = owned
        return True

    def evicted(self) -> None:
        """Drop every partition and what is not committed, because the group has removed this member or refuses it. The
        source, told to start over, then calls `lost` and `assigned`."""
        self.owned.clear()
        self.queued.clear()
        self.joined = False

    def live(self) -> list[Owned]:
        return [owned for owned in self.owned.values() if owned.live]
