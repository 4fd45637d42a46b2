"""What a poll gave, taken in parts: of a live partition, so that alerts of its first records need not wait for the last
(where they need not wait for a commit either); of one that replays, so that live partitions have their turn in between.

A poll may give ten thousand records of one stream, and those are detected one after the other: many seconds, in which
nothing else would move. While a share is left over its partition is paused, so at most one poll of it is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from anomaly_daemon.daemon.partition import Owned, cut
from anomaly_daemon.transport.ports import Partition, RecordBatch

Take = Callable[[Owned, RecordBatch], None]

SHARE_SECONDS = 0.2
"""Of a turn, for each partition that replays."""
PART_SECONDS = 0.02
"""The alerts of a live partition's first records wait no longer for those after them."""
FIRST_RECORDS = 100
"""The share while the pace is not known."""
LEAST_RECORDS = 50


@dataclass(slots=True)
class Pace:
    """How many records fit into a share of `seconds`, by what the last one took."""

    monotonic: Callable[[], float]
    seconds: float
    least: int
    records: int = FIRST_RECORDS

    def timed(self, take: Take, one: Owned, batch: RecordBatch) -> None:
        """A rest that is quickly done says little: most of it is what every call costs."""
        began = self.monotonic()
        take(one, batch)
        took = self.monotonic() - began
        if len(batch) >= self.records or took > self.seconds:
            self.records = self.share(len(batch), took)

    def share(self, records: int, took: float) -> int:
        """How many records the next share has, when the last took so long for so many."""
        return max(self.least, int(records * self.seconds / took)) if took > 0 else 2 * records


class Backlog:
    """The rest of what was polled, by partition; the loop's alone."""

    def __init__(self, monotonic: Callable[[], float], *, parts: bool) -> None:
        """`parts`: whether live partitions' batches are taken in parts too."""
        self._rest: dict[Partition, tuple[Owned, RecordBatch]] = {}
        self._share = Pace(monotonic, SHARE_SECONDS, LEAST_RECORDS)
        self._part = Pace(monotonic, PART_SECONDS, 1) if parts else None

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._rest)

    def __len__(self) -> int:
        return len(self._rest)

    def turn(
        self,
        batches: Iterable[RecordBatch],
        owned: Mapping[Partition, Owned],
        take: Take,
    ) -> None:
        """Give `take` all of the live partitions' batches, and then a share of each that replays, where any is live."""
        live = any(one.live for one in owned.values())
        waiting = [*self._left(owned), *((owned[one.partition], one) for one in batches if one.partition in owned)]
        for one, batch in sorted(waiting, key=lambda each: not each[0].live):
            self._rest.pop(batch.partition, None)
            if one.live or not live or len(batch) <= self._share.records:
                self._all(take, one, batch)
            else:
                now, later = cut(batch, [int(batch.offsets[self._share.records])])
                self._rest[batch.partition] = (one, later)
                self._share.timed(take, one, now)

    def _all(self, take: Take, one: Owned, batch: RecordBatch) -> None:
        part, rest = self._part, batch
        if part is None or not one.live:
            take(one, batch)
            return
        while len(rest) > part.records:
            now, rest = cut(rest, [int(rest.offsets[part.records])])
            part.timed(take, one, now)
        part.timed(take, one, rest)

    def _left(self, owned: Mapping[Partition, Owned]) -> Iterator[tuple[Owned, RecordBatch]]:
        """Of a partition that left, or came anew, nothing counts any more."""
        self._rest = {name: kept for name, kept in self._rest.items() if owned.get(name) is kept[0]}
        yield from self._rest.values()
