"""The loop: poll, detect, deliver. Decisions about a stream come from records; clocks only say when to write.

Theory of operation
-------------------
*What one commit makes visible.* Alerts, dead letters, input positions, and for each partition the ledger and the
buckets of stream state whose turn it is, as one atomic value (law L6). The state in memory is ahead of what is
committed. After a crash it is rebuilt by replaying the same records, silently, up to the committed position.

*Where a bucket is.* A bucket is written when its turn comes, once in `snapshot.seconds`, if it changed. The ledger
stores for every bucket the offset from which its events have to be replayed (see `checkpoint.ledger.Ledger`).

*Silent, then live.* A batch is cut at the committed position C. Alerts of the part below C were delivered by an earlier
run, or will never be; those from C on are delivered by this one. The cut goes by the record that was being read when an
alert arose, not by the records the alert is about: a silence may arise long after its stream's last record.

*Idle timers.* Event time stands still when a partition gets no records, so a wholly silent partition would never raise
its silence. Therefore, when a partition of an endless source is caught up and has no record, its timers fall due by its
event time plus the monotonic time since its last record in which one could have been read (`idleness`). The watermark
stays that of records. This is the one input that a replay does not repeat, so a commit with such an alert carries every
changed bucket: the state that raised it is never rebuilt without it. A restart starts that count from zero: time during
which the daemon was down does not count as silence. A producer that uploads in bulk, with pauses longer than its
streams' cadence, needs a higher `detection.silence.minimum` (docs/operations.md).

*Take-over.* The stored state of a partition is read, and its detector restored, on a thread beside the loop, while this
member's other partitions go on. Only then is the partition adopted, and its replay takes turns with the live ones.

*Removed from the group.* A broker that crashed, or hung for longer than the session, no longer knows this member, which
ran and noticed nothing. A commit is refused then, and also while the group waits for another member and this one is
still in it. Either way what is not committed is dropped, the source starts over, and every partition still assigned is
taken over from what is committed. A process that was itself suspended for longer than the session (stopped, or on a
machine that was) is told so by `fence`, and ends: it does not know why it was stopped.

*Threads.* The loop owns everything; `membership` says how rebalances reach it. Other threads call `stop`, `fence` and
`idle_since`, and read `progress` and `last_turn`; what these share with the loop are single assignments.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Sequence

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.daemon.backlog import Backlog
from anomaly_daemon.daemon.commit import Outbox
from anomaly_daemon.daemon.committer import Committer
from anomaly_daemon.daemon.feedback import FeedbackApplier
from anomaly_daemon.daemon.idleness import Idleness
from anomaly_daemon.daemon.intake import Decodes, Intake, Observer
from anomaly_daemon.daemon.measure import count_evicted, known, set_gauges, set_progress
from anomaly_daemon.daemon.membership import Membership
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.patience import Patience
from anomaly_daemon.daemon.policy import Clocks, Policies
from anomaly_daemon.daemon.ports import Ports
from anomaly_daemon.daemon.progress import Progress, Replay
from anomaly_daemon.daemon.regimes import Detectors
from anomaly_daemon.daemon.restoring import Restored, Restoring
from anomaly_daemon.daemon.silence import Silence
from anomaly_daemon.daemon.succession import Deciding, Succession, Watches
from anomaly_daemon.daemon.takeover import Outcome, TakeOver
from anomaly_daemon.errors import Evicted, Fenced
from anomaly_daemon.transport.ports import Partition, RecordBatch

__all__ = ["Observer", "Ports", "Worker"]

LOOK_SECONDS = 1.0
"""Seconds between two checks of the lag, the idle timers and the gauges."""
TAKE_OVER_SECONDS = 0.02
"""Seconds between two checks of a take-over under way."""
TELL_SECONDS = 5.0
"""Seconds between two log lines about a restore."""


class Worker:
    """One member of the group: takes partitions over, detects, delivers. `run` covers its whole life."""

    def __init__(
        self,
        ports: Ports,
        decoder: Decodes,
        detectors: Detectors,
        make: Make,
        outbox: Outbox,
        policies: Policies,
        clocks: Clocks,
        metrics: Metrics,
        log: FilteringBoundLogger,
        observers: Sequence[Observer] = (),
        watch: Watches | None = None,
    ) -> None:
        """`observers` get live observations and scores and must not keep the loop waiting. `watch`: see `succession`."""
        self._source, self._ports = ports.source, ports
        self._policies, self._clocks = policies, clocks
        self.metrics, self._log = metrics, log
        self._patience, self._take_over_patience = (Patience(policies.retry, clocks, log) for _ in range(2))
        self._succession = Succession(Deciding(detectors, make), watch, clocks.monotonic, metrics, log)
        self._restoring = Restoring(ports, self._succession, policies.snapshot, self._take_over_patience)
        self._backlog, self._idleness = Backlog(clocks.monotonic), Idleness()
        self._intake = Intake(decoder, policies, clocks, metrics, log, observers)
        self._committer = Committer(ports, outbox, policies, clocks, metrics, self._patience, between=self._show_alive)
        self.silence = Silence(self._idleness, self._patience, self._committer.made, clocks.monotonic, metrics, log)
        self._feedback = FeedbackApplier(ports.feedback, self._committer.store, metrics, log)
        self._members = Membership(self._flush, clocks.monotonic, log, policies.stop_seconds)
        self._stopping = False
        self._fenced: str | None = None
        self._last_look = self._last_report = clocks.monotonic()
        self._replay, self.progress = Replay(), Progress()
        self.last_turn = clocks.monotonic()

    def run(self) -> None:
        """Run until stopped, or until a finite source is exhausted. Raises one of `errors` when it cannot go on."""
        try:
            self.start()
            while not self._ended():
                self.turn()
            self.finish()
        except BaseException:
            self._members.abandoned = True
            raise
        finally:
            self._succession.close()
            self._feedback.close()
            self._ports.close()

    def start(self) -> None:
        """Join the group: partitions reach this member from the first turn on."""
        self._source.subscribe(self._members)
        self._succession.start()
        self._feedback.start()

    def finish(self) -> None:
        """Commit everything pending, and all of the state, before this member leaves."""
        with self._members.lock:
            count_evicted(self.metrics, self._members.owned.values())
            self._members.drain()
            self._flush(self._members.live())

    def _ended(self) -> bool:
        read = self._source.exhausted() and not self._backlog
        return self._stopping or (read and self._members.settled())

    def stop(self) -> None:
        """Ask `run` to flush and return; safe to call from a signal handler and from any thread."""
        stop_by = self._clocks.monotonic() + self._policies.stop_seconds
        self._patience.stop_by = self._take_over_patience.stop_by = stop_by
        self._stopping = True

    def fence(self, why: str) -> None:
        """Make `run` raise Fenced at its next turn, delivering nothing more; safe to call from any thread."""
        self._fenced = why

    def idle_since(self, now: float) -> float:
        """Return when the loop last turned, or `now` while it is within the deadline of a call to the broker: waiting
        for a broker that is away is no reason for a restart. Safe to call from any thread."""
        return now if now <= self._patience.waiting_until else self.last_turn

    def _flush(self, mine: Sequence[Owned]) -> None:
        """Commit everything of these partitions before they are another member's, with one deadline for all of it."""
        deadline = min(self._patience.stop_by, self._clocks.monotonic() + self._policies.stop_seconds)
        self._committer.flush(mine, deadline)

    def turn(self) -> None:
        """Run the loop once."""
        self._take_over_queued()
        began, timeout = self._clocks.monotonic(), self._poll_seconds()
        poll = functools.partial(self._source.poll, timeout)
        batches = self._patience.call("poll", poll, between=self._show_alive)
        lag, now = self._source.lag(), self._clocks.monotonic()
        with self._members.lock:
            self._members.drain()
            self._idleness.polled(self._members.owned, lag, self._source.owed(), now, now - began, timeout)
            before = set(self._backlog)
            self._backlog.turn(batches, self._members.owned, self._take)
            if now - self._last_look >= LOOK_SECONDS:
                self._look({*self._backlog, *before, *(batch.partition for batch in batches)})
            self._as_member(lambda: self._committer.commit_if_due(self._members.live()))
            self._as_member(lambda: self._feedback.take(self._members.live()))
            self._as_member(lambda: self._succession.take_over(self._members.live(), self._committer.announce))
            self._show_alive()
            after, ours = set(self._backlog), self._members.owned.keys()
        self._source.pause(after)  # all of them: one assigned again within this turn is not paused any more
        self._source.resume((before - after) & ours)

    def _as_member(self, deliver: Callable[[], None]) -> None:
        """Deliver. If the group has removed this member or refuses it, drop what is not committed, and start over."""
        began = self._clocks.monotonic()
        try:
            deliver()
        except Evicted as error:
            self._members.evicted()
            self._source.start_over()
            self.metrics.count("evictions_total")
            self._log.warning("removed from the consumer group: restoring what is committed", error=str(error))
        self._idleness.waited(self._clocks.monotonic() - began)

    def _poll_seconds(self) -> float:
        """Return how long a poll may wait: less while events wait for a commit, or a partition may be restored soon."""
        if self._backlog:
            return 0.0
        waiting = any(owned.pending.events for owned in list(self._members.owned.values()))
        most = min(self._policies.poll_seconds, TAKE_OVER_SECONDS if self._members.queued else math.inf)
        return min(most, self._policies.commit.seconds) if waiting else most

    def _take(self, owned: Owned, batch: RecordBatch) -> None:
        restoring = not owned.live
        self._intake.take(owned, batch)
        self._committer.tell(owned)
        if restoring and owned.live:
            self._restored(owned)

    def _look(self, busy: Collection[Partition]) -> None:
        """Run the idle timers and set the gauges, once in `LOOK_SECONDS`."""
        self._last_look = self._clocks.monotonic()
        for owned in self._members.owned.values():
            if owned.partition not in busy and self._idleness.caught_up(owned):
                self._idle(owned)
        ours, complete = self._members.owned.values(), self._members.complete
        count_evicted(self.metrics, ours)
        set_gauges(self.metrics, ours, self._idleness.lag, self._clocks.wall(), complete=complete)

    def _idle(self, owned: Owned) -> None:
        if not owned.live:  # caught up below the committed position: the last records there were compacted away
            if self._idleness.surely_caught_up(owned):
                owned.live, owned.position = True, owned.committed
                owned.reach(owned.position)
                self._source.seek(owned.partition, owned.position)
                self._restored(owned)
        elif self._policies.idle_timers and owned.last_watermark > 0:
            watermark = owned.last_watermark + int(self._idleness.seconds(owned) * 1e6)
            alerts = owned.detector.advance(watermark, None)
            owned.forced = owned.forced or bool(alerts)  # a replay would not raise them: see idle timers, above
            self._intake.admit(owned, alerts)

    # Take-over. This is done without the lock, because it asks the source.

    def _take_over_queued(self) -> None:
        with self._members.lock:
            self._members.drain()
            queued = dict(self._members.queued)
            self._show_alive()
        for restored in self._restoring.done(queued, self._replaying):
            self._adopt(restored)

    def _replaying(self) -> int:
        return sum(not owned.live for owned in list(self._members.owned.values()))

    def _adopt(self, restored: Restored) -> None:
        owned = restored.owned
        with self._members.lock:
            if not self._members.adopt(owned, restored.assignment):
                return
            self._as_member(lambda: self._committer.announce(owned))
            if self._members.owned.get(owned.partition) is not owned:
                return
            self._log_take_over(owned, restored.taken)
        owned.last_record = self._clocks.monotonic()  # until now no record of it could be read
        self._source.seek(owned.partition, owned.position)
        self._source.resume([owned.partition])

    def _log_take_over(self, owned: Owned, taken: TakeOver) -> None:
        log = self._log.bind(partition=f"{owned.partition.topic}-{owned.partition.partition}")
        self.metrics.count("restores_total", outcome=taken.outcome.value)
        log.info("partition taken over", state=taken.outcome.value, position=taken.seek, live_from=taken.committed)
        if taken.outcome is Outcome.CHANGED:
            former, ours = taken.regimes[-2:]
            what = "rules" if former.model == ours.model else "model"
            log.warning("model or rules changed from here on, the state is kept", what=what, since=ours.since)
        if owned.empty_columns:
            log.warning("another release stored the state: these columns start empty", columns=owned.empty_columns)
        if taken.outcome is Outcome.LOST:
            log.error("offsets are committed but the snapshots are gone: every stream starts from scratch")
        if taken.records_lost:
            self.metrics.count("records_lost_total", taken.records_lost)
            log.error("retention removed records before they were read", records=taken.records_lost)
        if owned.live:
            self._restored(owned)

    def _restored(self, owned: Owned) -> None:
        self.metrics.observe("restore_seconds", self._clocks.monotonic() - owned.since)

    def _show_alive(self) -> None:
        """Note that the loop is alive, whatever the broker does, and how far it is. Raises Fenced after `fence`."""
        if self._fenced is not None:
            raise Fenced(self._fenced)
        self.last_turn = self._clocks.monotonic()
        now = self._clocks.monotonic()
        owned, queued = list(self._members.owned.values()), len(self._members.queued)
        live = sum(each.live for each in owned)
        left, restoring = sum(each.records_left for each in owned), len(owned) - live + queued
        self._replay = self._replay.at(left, now) if restoring else Replay()
        seconds = math.nan if queued or not self._members.joined else self._replay.seconds_left
        self.progress = Progress(self._members.joined, live, restoring, left, seconds)
        set_progress(self.metrics, self.progress)
        if restoring and now - self._last_report >= TELL_SECONDS:
            self._last_report = now
            self._log.info("restoring", partitions=restoring, records_left=left, seconds_left=known(seconds))
