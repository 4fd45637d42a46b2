"""Decides when a commit is made and what it contains, and makes it visible."""

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
"""Minimum seconds between two digests of held-back alerts. The first digest is sent at once."""
FLUSH_BUCKETS = 8
"""Buckets in one commit of a flush. The commits of a hand-over are small, so that it makes progress and can stop at its
deadline."""

Due = Mapping[Partition, Collection[int]]


class Committer:
    """Makes the commits for all partitions of one daemon, one at a time."""

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
        """`between` is called after each pause between attempts while a broker is away."""
        self._delivery, self._telling, self._snapshots = ports.delivery, ports.telling, ports.snapshots is not None
        self._outbox, self._policy, self._clocks = outbox, policies.commit, clocks
        self._metrics, self._patience, self._between = metrics, patience, between
        self._last = self._last_digest = -math.inf
        self._under_way = Commit({})

    def made(self) -> int:
        """Return the number of stream-state records made so far for the commit under way; 0 once it is visible. Safe to
        call from any thread."""
        snapshots = self._under_way.snapshots.values()
        return sum(records.made for records in snapshots if isinstance(records, Unfolding))

    def tell(self, owned: Owned) -> None:
        """Send the alerts of a batch ahead of their commit, where no transaction has to hold them back. The commit
        waits until each of them is visible. Alerts that the clock raises (idle timers) are not sent ahead, because no
        replay would raise them again: they stay with their commit."""
        pending = owned.pending
        if self._telling is None or not pending.alerts:
            return
        published = iso(self._clocks.wall())
        sent = self._telling.send_ahead([self._outbox.alert(owned, alert, published) for alert in pending.alerts])
        pending.ahead += zip(pending.alerts[: len(sent)], sent, strict=True)
        del pending.alerts[: len(sent)]

    def commit_if_due(self, mine: Sequence[Owned]) -> None:
        """Commit what is pending of these live partitions if a commit is due. Alerts that were not sent ahead do not
        wait; records and snapshots wait as long as the policy allows."""
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
        """Commit everything pending, and every dirty bucket as far as the deadline allows. The rest will be replayed."""
        while unsettled := [owned for owned in mine if self._unsettled(owned)]:
            dirty = {owned.partition: sorted(owned.dirty)[:FLUSH_BUCKETS] for owned in unsettled if self._snapshots}
            self._commit(unsettled, dirty, digest=True, deadline=deadline)
            if self._clocks.monotonic() >= deadline:
                break

    def store(self, owned: Owned, buckets: Collection[int]) -> None:
        """Commit these buckets in their present state although no record requires it. A replay would not reproduce
        them."""
        if self._snapshots:
            self._commit([owned], {owned.partition: buckets}, digest=False)

    def announce(self, owned: Owned) -> None:
        """Store the ledger before the first record counts, where a commit is not atomic: it names what is in force from
        then on."""
        if owned.announce and self._snapshots and not owned.atomic:
            commit = Commit({}, snapshots={owned.partition: owned.announcement()})
            self._patience.call("announce", partial(self._attempt, commit), between=self._between)
            owned.announced()

    def _unsettled(self, owned: Owned) -> bool:
        pending = owned.pending
        waiting = bool(pending.events or pending.alerts or pending.ahead or owned.unreported or owned.announce)
        return bool(self._snapshots and owned.note_changes()) or waiting or owned.position != owned.committed

    def _commit(self, mine: Sequence[Owned], buckets: Due, *, digest: bool, deadline: float = math.inf) -> None:
        """Make one commit, in this order of delivery. (1) One value is made of everything that is pending; its snapshot
        records are made while it is being sent. (2) The value becomes visible; every attempt sends the same value. (3)
        Only then is it forgotten here. A crash between 2 and 3 loses nothing that is needed."""
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
        """Try once to deliver. If the broker is unavailable, call `made`, which makes all remaining records of the
        commit before the state that they are made from can change."""
        try:
            self._delivery.deliver(commit)
        except Unavailable:
            made()
            self._metrics.count("commits_total", outcome="unavailable")
            raise
