"""Restores the state of assigned partitions, one after the other, beside the loop."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from anomaly_daemon.checkpoint.envelope import Corrupt
from anomaly_daemon.daemon.allocation import give_back_freed_memory
from anomaly_daemon.daemon.aside import Aside
from anomaly_daemon.daemon.membership import Assignment
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.patience import Patience
from anomaly_daemon.daemon.policy import SnapshotPolicy
from anomaly_daemon.daemon.ports import Ports
from anomaly_daemon.daemon.regimes import take_over
from anomaly_daemon.daemon.succession import Succession
from anomaly_daemon.daemon.takeover import Found, TakeOver, plan
from anomaly_daemon.errors import Incompatible, Unavailable
from anomaly_daemon.transport.ports import Partition

REPLAYS_AT_ONCE = 4
"""Partitions that replay at the same time. The next records of a live partition wait for one share (see `backlog`) of
each of these."""


class Restored(NamedTuple):
    """A restored partition that becomes this member's once it is adopted."""

    assignment: Assignment
    owned: Owned
    taken: TakeOver


class Restoring:
    """Reads what is stored and restores detectors from it, without touching anything that the loop uses."""

    def __init__(
        self,
        ports: Ports,
        succession: Succession,
        policy: SnapshotPolicy,
        patience: Patience,
    ) -> None:
        """`succession` is asked once for each restore which model and rules decide. `patience` is not shared with the
        loop."""
        self._source, self._store, self._patience = ports.source, ports.snapshots, patience
        self._atomic = ports.atomic
        self._succession, self._policy = succession, policy
        self._aside: Aside[Restored] = Aside(threaded=ports.aside)

    def done(self, queued: Mapping[Partition, Assignment], replaying: Callable[[], int]) -> Iterator[Restored]:
        """Yield those of `queued` that are restored by now, and begin with the next one. Raises the error of a restore
        that failed.

        `replaying` counts the partitions that replay. At `REPLAYS_AT_ONCE` of them the rest waits.
        """
        self._aside.drop_unless(queued.values())
        for partition, assignment in queued.items():
            if replaying() >= REPLAYS_AT_ONCE:
                return
            restored = self._aside.result(assignment, partial(self._restore, partition, assignment))
            if restored is not None:
                yield restored

    def _restore(self, partition: Partition, assignment: Assignment) -> Restored:
        found = self._patience.call("take-over", partial(self._find, partition))
        deciding = self._succession.deciding
        detectors, make = deciding.detectors, deciding.make
        try:
            taken = plan(found, make, detectors.regime, self._policy.buckets)
            owned = take_over(
                partition,
                detectors,
                make,
                self._policy,
                found,
                taken,
                assignment.at,
                "" if self._atomic else secrets.token_hex(8),
            )
        except Incompatible as error:
            raise Incompatible(
                f"taking over {partition.topic}-{partition.partition}: {error}{_advice(error)}"
            ) from error
        give_back_freed_memory()
        return Restored(assignment, owned, taken)

    def _find(self, partition: Partition) -> Found:
        """Read what is stored of a partition, in an order that matters. Snapshots read before the committed offset may
        lack what an earlier owner, while leaving, committed in between. Snapshots read after it hold at least what
        belongs to it. A member that was suspended between the two reads, or removed from the group, may find more:
        snapshots of a later owner, ahead of the offset that it read. Therefore the offset is read again, and
        Unavailable is raised if it has changed."""
        committed = self._source.committed(partition)
        start = self._source.start_offset(partition) if committed is None else committed
        stored = self._store.load(partition) if self._store else None
        if self._source.committed(partition) != committed:
            raise Unavailable(
                f"another member has committed {partition.topic}-{partition.partition} while its state was being read"
            )
        return Found(committed, start, self._source.beginning(partition), stored, self._source.topic_id(partition))


def _advice(error: Incompatible) -> str:
    """Return what to do about a corrupt store. The other errors already say what to change."""
    anew = (
        ". With a new snapshot.topic (files: snapshot.path) every stream starts from scratch at the committed position"
    )
    return anew if isinstance(error, Corrupt) else ""
