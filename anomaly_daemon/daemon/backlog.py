"""The backlog of partitions that replay. Their polled records are processed in shares, so that live partitions have
their turn in between.

One poll may return ten thousand records of one stream, and those are processed one after the other. That takes many
seconds, in which nothing else would make progress. While a part of a batch is left over, its partition is paused, so at
most one poll of each partition is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from anomaly_daemon.daemon.partition import Owned, cut
from anomaly_daemon.transport.ports import Partition, RecordBatch

SHARE_SECONDS = 0.2
"""Seconds of each turn of the loop for each partition that replays."""
FIRST_RECORDS = 100
"""Records in a share while the pace is not known."""
LEAST_RECORDS = 50


def share(records: int, seconds: float) -> int:
    """Return the number of records in the next share, given the number in the last one and the seconds it took."""
    return max(LEAST_RECORDS, int(records * SHARE_SECONDS / seconds)) if seconds > 0 else 2 * records


class Backlog:
    """Polled records that were not processed yet, by partition. Used by the loop's thread only."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._unprocessed: dict[Partition, tuple[Owned, RecordBatch]] = {}
        self._records = FIRST_RECORDS

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._unprocessed)

    def __len__(self) -> int:
        return len(self._unprocessed)

    def turn(
        self,
        batches: Iterable[RecordBatch],
        owned: Mapping[Partition, Owned],
        take: Callable[[Owned, RecordBatch], None],
    ) -> None:
        """Give `take` the batches of live partitions whole, and then one share of each partition that replays. If no
        partition is live, batches of partitions that replay are given whole too."""
        live = any(one.live for one in owned.values())
        waiting = [*self._remaining(owned), *((owned[one.partition], one) for one in batches if one.partition in owned)]
        for one, batch in sorted(waiting, key=lambda each: not each[0].live):
            self._unprocessed.pop(batch.partition, None)
            if one.live or not live or len(batch) <= self._records:
                take(one, batch)
            else:
                now, later = cut(batch, [int(batch.offsets[self._records])])
                self._unprocessed[batch.partition] = (one, later)
                self._timed(take, one, now)

    def _remaining(self, owned: Mapping[Partition, Owned]) -> Iterator[tuple[Owned, RecordBatch]]:
        """Yield what is left of earlier polls. The rest of a partition that has left, or was assigned again, is dropped
        first."""
        self._unprocessed = {name: kept for name, kept in self._unprocessed.items() if owned.get(name) is kept[0]}
        yield from self._unprocessed.values()

    def _timed(self, take: Callable[[Owned, RecordBatch], None], one: Owned, batch: RecordBatch) -> None:
        began = self._monotonic()
        take(one, batch)
        self._records = share(len(batch), self._monotonic() - began)
