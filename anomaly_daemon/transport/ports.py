"""What the daemon asks of a transport. Two implementations of each port pass one contract suite.

A transport moves bytes. It knows partitions, offsets and transactions, and nothing of streams, scores or alerts.
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
    """One input partition: a topic's, or a file (topic = its path, partition = its place in the list when first read)."""

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
    """The position after this batch. It may exceed the last offset + 1: control records take offsets too."""

    def __len__(self) -> int:
        return len(self.offsets)

    def below(self, end: int) -> RecordBatch:
        """Its records below this offset."""
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
class Told:
    """An alert that went ahead of its commit."""

    record: Outgoing
    visible: float = math.nan
    """Epoch seconds since when subscribers can read it; NaN until the transport knows."""
    way: Any = None
    """The transport's own."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one commit makes visible, at once or not at all.

    `snapshots` go to the input partition's own snapshot store; their key names the bucket. `positions` are the next
    offsets to read.
    """

    positions: Mapping[Partition, int]
    alerts: Sequence[Outgoing] = ()
    dead_letters: Sequence[Outgoing] = ()
    snapshots: Mapping[Partition, Sequence[Outgoing]] = field(default_factory=dict)
    told: Sequence[Told] = ()
    """Alerts before `alerts` that went ahead: the commit waits until each of them is visible."""


class Rebalance(Protocol):
    """Told by the source, from inside `poll` or from the source's own thread, never from inside `deliver`."""

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """These partitions are now ours and paused: restore them, `seek`, then `resume`. None: we stand by."""

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """These partitions are about to leave in good order: what is pending may still be delivered, bounded."""

    def lost(self, partitions: Iterable[Partition]) -> None:
        """These partitions are already another's: drop their state and deliver nothing for them."""


class Source(Protocol):
    """Where records come from."""

    def subscribe(self, listener: Rebalance) -> None:
        """Join; assignments reach `listener` from the first `poll` on."""

    def poll(self, timeout_seconds: float) -> list[RecordBatch]:
        """Wait for records of the resumed partitions, at most `timeout_seconds`; [] when there were none."""

    def committed(self, partition: Partition) -> int | None:
        """The position last committed for this partition, or None.

        This, `start_offset`, `beginning` and `topic_id` may be asked from another thread than the loop's, in a take-over.
        """

    def start_offset(self, partition: Partition) -> int:
        """Where to begin when nothing is committed, by the configured policy (earliest or latest)."""

    def beginning(self, partition: Partition) -> int:
        """The oldest offset still there: what was below it is gone."""

    def topic_id(self, partition: Partition) -> str:
        """Of its topic, which another of that name does not have; "" where it is not known."""

    def seek(self, partition: Partition, offset: int) -> None:
        """`seek`, `pause` and `resume` do nothing for a partition that has just left."""

    def pause(self, partitions: Iterable[Partition]) -> None: ...

    def resume(self, partitions: Iterable[Partition]) -> None: ...

    def start_over(self) -> None:
        """The loop has dropped what it held: say of each of our partitions, by polls from now on, that it is lost, and
        assign anew those that are still ours."""

    def lag(self) -> Mapping[Partition, int]:
        """Records between our position and the end, for each assigned partition whose end was heard since this was last
        asked (and since a seek): what is not in it is not known."""

    def owed(self) -> Collection[Partition]:
        """Those whose end a broker is asked for, and of which no records wait here to be read first."""

    def exhausted(self) -> bool:
        """True once a finite source (files, memory) has given out every record; never for Kafka."""

    def close(self) -> None: ...


class Delivery(Protocol):
    """Where a commit goes."""

    def deliver(self, commit: Commit) -> None:
        """Make the whole commit visible, or raise one of `errors` with nothing of it visible (law L6).

        After Unavailable, the same commit may be delivered again. After Evicted the loop lets the source start over:
        whether the group has really put us out, or only refused us for too long, is not known here.

        Without transactions (`sink.delivery: at_least_once`) a commit becomes visible by parts: alerts and dead letters,
        then positions, then snapshots in their order. After an error or a crash any part may be repeated.
        """

    def close(self) -> None: ...


class Telling(Delivery, Protocol):
    """One without transactions."""

    def tell(self, alerts: Sequence[Outgoing]) -> Sequence[Told]:
        """Send alerts ahead of the commit that will carry them, and wait for nothing. Returns those on their way, in
        order; the others have to wait for their commit, which says what is in the way. Raises nothing."""


class SnapshotStore(Protocol):
    """The snapshots of an input partition; written by `Delivery.deliver`, read back at take-over."""

    def load(self, partition: Partition) -> dict[bytes, bytes]:
        """The newest snapshot of each bucket, by its key. Reads up to the high watermark. May take minutes, and is
        asked from another thread than the loop's; one partition at a time."""


class Log(Protocol):
    """Records in one order, that every reader reads from the beginning on."""

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """The next ones with their offsets, waiting for the first of them at most so long. Raises Unavailable."""

    def close(self) -> None: ...


class EndedLog(Log, Protocol):
    """One that says how far it goes."""

    def end(self) -> int:
        """The offset that its next record will have. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Received:
    """One record of a queue, until it is answered."""

    value: bytes
    appended: str
    """When it was appended, ISO 8601."""
    place: Any
    """The queue's own."""
