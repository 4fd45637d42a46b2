"""The interfaces (ports) through which the daemon uses a transport. Two implementations of each port pass one contract
suite.

A transport moves bytes. It handles partitions, offsets and transactions, but not streams, scores or alerts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One input partition: a topic's, or a file (topic = path, partition = its place in the list when first read)."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Consecutive records of one partition, as columns. Timestamps are epoch microseconds, -1 where there is none."""

    partition: Partition
    offsets: Int64
    timestamps: Int64
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]
    next_offset: int
    """The position after this batch. It may be above the last offset + 1, because control records take offsets too."""

    def __len__(self) -> int:
        return len(self.offsets)

    def below(self, end: int) -> RecordBatch:
        """Return the batch with only its records below the offset `end`."""
        keep = int((self.offsets < end).sum())
        if keep == len(self):
            return self
        return RecordBatch(
            self.partition,
            self.offsets[:keep],
            self.timestamps[:keep],
            self.keys[:keep],
            self.values[:keep],
            self.headers[:keep],
            end,
        )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to write."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(slots=True, eq=False)
class SentAhead:
    """An alert that was sent ahead of its commit."""

    record: Outgoing
    visible: float = math.nan
    """The time, in epoch seconds, since when subscribers can read it; NaN until the transport knows."""
    way: Any = None
    """Data of the transport, for its own use."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one commit makes visible, at once or not at all.

    `snapshots` go to the input partition's own snapshot store; the key of each names its bucket. `positions` are the
    next offsets to read.
    """

    positions: Mapping[Partition, int]
    alerts: Sequence[Outgoing] = ()
    dead_letters: Sequence[Outgoing] = ()
    snapshots: Mapping[Partition, Sequence[Outgoing]] = field(default_factory=dict)
    ahead: Sequence[SentAhead] = ()
    """Alerts that were sent ahead of the commit; they precede `alerts`. The commit waits until all are visible."""


class Rebalance(Protocol):
    """Listener for changes of the assignment. A source calls it from inside `poll` or from its own thread, but never
    from inside `deliver`."""

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """These partitions are now assigned to this member, and paused: restore them, `seek`, then `resume`. With no
        partitions, this member is on standby."""

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """These partitions are about to leave this member in an orderly way. What is pending may still be delivered,
        within a time limit."""

    def lost(self, partitions: Iterable[Partition]) -> None:
        """These partitions already belong to another member: drop their state, and deliver nothing for them."""


class Source(Protocol):
    """Where records come from."""

    def subscribe(self, listener: Rebalance) -> None:
        """Join. Assignments are reported to `listener` from the first `poll` on."""

    def poll(self, timeout_seconds: float) -> list[RecordBatch]:
        """Return records of the resumed partitions, after waiting for them at most `timeout_seconds`; [] if there were
        none."""

    def committed(self, partition: Partition) -> int | None:
        """Return the position last committed for this partition, or None.

        This method, `start_offset`, `beginning` and `topic_id` may be called from another thread than the loop's, in a
        take-over.
        """

    def start_offset(self, partition: Partition) -> int:
        """Return where to begin if nothing is committed, by the configured policy (earliest or latest)."""

    def beginning(self, partition: Partition) -> int:
        """Return the oldest offset that is still stored. Records below it are gone."""

    def topic_id(self, partition: Partition) -> str:
        """Return the id of the partition's topic, which a recreated topic of the same name does not have; "" if it is
        not known."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Continue reading at `offset`. `seek`, `pause` and `resume` do nothing for a partition that has just left this
        member."""

    def pause(self, partitions: Iterable[Partition]) -> None: ...

    def resume(self, partitions: Iterable[Partition]) -> None: ...

    def start_over(self) -> None:
        """Report each of this member's partitions as lost, in the polls from now on, and assign again those that it
        still owns. The loop calls this after it has dropped the state that it held."""

    def lag(self) -> Mapping[Partition, int]:
        """Return the records between the position and the end of each assigned partition whose end was reported since
        the last call (and since a seek). The lag of a partition that is not in the result is unknown."""

    def owed(self) -> Collection[Partition]:
        """Return the partitions whose end a broker was asked for, and of which no records wait here to be read."""

    def exhausted(self) -> bool:
        """True once a finite source (files, memory) has returned every record; never for Kafka."""

    def close(self) -> None: ...


class Delivery(Protocol):
    """Where a commit goes."""

    def deliver(self, commit: Commit) -> None:
        """Make the whole commit visible, or raise one of `errors` with nothing of it visible (law L6).

        After Unavailable, the same commit may be delivered again. After Evicted, the loop has the source start over: it
        is not known here whether the group has really removed this member, or has only refused its commits for too
        long.

        Without transactions (`sink.delivery: at_least_once`) a commit becomes visible in parts: alerts and dead
        letters, then positions, then snapshots in their order. After an error or a crash any part may be repeated.
        """

    def close(self) -> None: ...


class Telling(Delivery, Protocol):
    """A delivery without transactions, which can send alerts ahead of their commit."""

    def send_ahead(self, alerts: Sequence[Outgoing]) -> Sequence[SentAhead]:
        """Send alerts ahead of the commit that will contain them, without waiting. Returns those that were sent, in
        order. The others wait for their commit, which then raises what prevented them. Raises nothing itself."""


class SnapshotStore(Protocol):
    """The snapshots of an input partition. `Delivery.deliver` writes them, and a take-over reads them."""

    def load(self, partition: Partition) -> dict[bytes, bytes]:
        """Return the newest snapshot of each bucket, by its key. Reads up to the high watermark, which may take
        minutes. It is called from another thread than the loop's, for one partition at a time."""


class Log(Protocol):
    """An ordered log of records, which every reader reads from the beginning."""

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """Return the next records with their offsets, after waiting for the first of them at most `seconds`. Raises
        Unavailable."""

    def close(self) -> None: ...


class EndedLog(Log, Protocol):
    """A log that can report its end."""

    def end(self) -> int:
        """Return the offset that the log's next record will have. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Received:
    """One record of a queue, until it is answered."""

    value: bytes
    appended: str
    """When it was appended, in ISO 8601."""
    place: Any
    """The record's place in the queue, for the queue's own use."""
