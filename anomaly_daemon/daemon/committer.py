"""When a commit is made, of what, and how it becomes visible."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from anomaly_daemon.daemon.commit import Outbox, iso, prepare
from anomaly_daemon.daemon.measure import count_commit
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.patience import Patience
from anomaly_daemon.daemon.policy import Clocks, Policies
from anomaly_daemon.daemon.ports import Ports
from anomaly_daemon.daemon.unfolding import Unfolding
from anomaly_daemon.errors import Unavailable
from anomaly_daemon.transport.ports import Commit, Partition

DIGEST_SECONDS = 60.0
"""Between two digests of alerts that were held back; the first one comes at once."""
FLUSH_BUCKETS = 8
"""Buckets in one commit of a flush: a hand-over must make progress, and then stop at its deadline."""

Due = Mapping[Partition, Collection[int]]


class Committer:
    """Commits for every partition of one daemon, one at a time."""

    def __init__(
        self,
        ports: Ports,
        outbox: Outbox,
        policies: Policies,
        clocks: Clocks,
        metrics: Metrics,
        patience: Patience,
        *,
        between: Callable[[], None],
    ) -> None:
        """`between` is called while a broker that is away is waited for."""
        self._delivery, self._telling, self._snapshots = ports.delivery, ports.telling, ports.snapshots is not None
        self._outbox, self._policy, self._clocks = outbox, policies.commit, clocks
        self._metrics, self._patience, self._between = metrics, patience, between
        self._last = self._last_digest = -math.inf
        self._under_way = Commit({})

    def made(self) -> int:
        """Records of stream state made so far, of the commit under way or the last. Safe from any thread."""
        snapshots = self._under_way.snapshots.values()
        return sum(records.made for records in snapshots if isinstance(records, Unfolding))

    def tell(self, owned: Owned) -> None:
        """Alerts of a batch go out as soon as they are there, where no transaction has to hold them; their commit waits
        for them. What the clock raises stays with its commit, because no replay would raise it again."""
        pending = owned.pending
        if self._telling is None or not pending.alerts:
            return
        published = iso(self._clocks.wall())
        told = self._telling.tell([self._outbox.alert(owned, alert, published) for alert in pending.alerts])
        pending.told += zip(pending.alerts[: len(told)], told, strict=True)
        del pending.alerts[: len(told)]

    def commit_if_due(self, mine: Sequence[Owned]) -> None:
        """`mine` are live. Alerts that were not told yet do not wait; records and snapshots do, for the policy."""
        now = self._clocks.monotonic()
        digest = now - self._last_digest >= DIGEST_SECONDS and any(owned.unreported for owned in mine)
        waiting = digest or any(owned.pending.alerts or owned.announce or owned.forced for owned in mine)
        events = sum(owned.pending.events for owned in mine)
        due = self._policy.due(now=now, last=self._last, events=events, alert_waiting=waiting)
        paced = now - self._last >= self._policy.seconds
        buckets = {owned.partition: owned.due(now) for owned in mine if self._snapshots and (due or paced)}
        if due or any(buckets.values()):
            self._commit(mine, buckets, digest=digest)

    def flush(self, mine: Sequence[Owned], deadline: float) -> None:
        """Everything pending, and every dirty bucket as far as the deadline allows; the rest will be replayed."""
        while unsettled := [owned for owned in mine if self._unsettled(owned)]:
            dirty = {owned.partition: sorted(owned.dirty)[:FLUSH_BUCKETS] for owned in unsettled if self._snapshots}
            self._commit(unsettled, dirty, digest=True, deadline=deadline)
            if self._clocks.monotonic() >= deadline:
                break

    def store(self, owned: Owned, buckets: Collection[int]) -> None:
        """These buckets as they stand, though no record asks for it: a replay would not make them."""
        if self._snapshots:
            self._commit([owned], {owned.partition: buckets}, digest=False)

    def announce(self, owned: Owned) -> None:
        """Where a commit is not atomic: what is in force stands in the ledger before the first record counts."""
        if owned.announce and self._snapshots and not owned.atomic:
            commit = Commit({}, snapshots={owned.partition: owned.announcement()})
            self._patience.call("announce", partial(self._attempt, commit), between=self._between)
            owned.announced()

    def _unsettled(self, owned: Owned) -> bool:
        pending = owned.pending
        waiting = bool(pending.events or pending.alerts or pending.told or owned.unreported or owned.announce)
        return bool(self._snapshots and owned.note_changes()) or waiting or owned.position != owned.committed

    def _commit(self, mine: Sequence[Owned], buckets: Due, *, digest: bool, deadline: float = math.inf) -> None:
        """The order of delivery: (1) one value is made of everything that is pending, its snapshots while it is on its way;
        (2) it becomes visible, the same value at every attempt; (3) only then is it forgotten here. Dying between 2 and 3
        loses what nobody needs."""
        prepared = prepare(mine, buckets, self._outbox, snapshots=self._snapshots, digest=digest)
        started, self._under_way = self._clocks.monotonic(), prepared.commit
        attempt = partial(self._attempt, prepared.commit, prepared.made)
        self._patience.call("deliver", attempt, deadline=deadline, between=self._between)
        now = self._last = self._clocks.monotonic()
        self._last_digest = now if prepared.digest else self._last_digest
        prepared.settle()
        self._under_way = Commit({})
        count_commit(self._metrics, prepared, now - started, self._clocks.wall())

    def _attempt(self, commit: Commit, made: Callable[[], None] = lambda: None) -> None:
        """`made`: all of it, before anything else can happen."""
        try:
            self._delivery.deliver(commit)
        except Unavailable:
            made()
            self._metrics.count("commits_total", outcome="unavailable")
            raise
