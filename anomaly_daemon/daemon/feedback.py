"""Applies feedback on alerts (labels that people give them) to the streams' state, each label once, at a committed
offset.

Theory of operation. A thread reads the feedback log from its beginning and keeps the labels. Between two turns of the
loop, a partition that is at its committed offset with nothing pending takes in the labels that it has not taken in yet
("hears" them). The buckets that this changes are committed before the partition's next record is read. A replay begins
at those buckets, and therefore needs no labels. The offset up to which a partition has heard the feedback is stored in
its ledger, in the same commit. Each row stores such an offset too, because commits may not be atomic, and because a
stream may appear after it was labelled. Labelled streams are therefore looked up in turn, some at a time, and one that
has appeared takes in all of its labels then.

A partition that has heard more than the feedback log holds has heard it from another topic: this one was recreated or
truncated, and is heard from its beginning. It may also be that the thread has not read that far yet, so the thread is
asked for the log's end first. That end is looked up after the partition heard the feedback, and the end of the same
topic is then never below what was heard.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.labels import Labels
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.errors import DaemonError, Incompatible
from anomaly_daemon.transport import feedback_codec
from anomaly_daemon.transport.feedback_codec import Feedback
from anomaly_daemon.transport.ports import EndedLog, Partition

READ_SECONDS = 0.5
RETRY_SECONDS = 5.0
"""Seconds before the feedback is read again after a failure."""
MOST = 100_000
"""Labels that are kept, the newest ones. A member that takes a partition over applies those of them that the partition
has missed."""
LOOKED_FOR = 100
"""Labelled streams that each turn looks up, because they may have appeared since. This takes a fraction of a
millisecond."""


class FeedbackApplier:
    """Reads the feedback on a thread, and applies it to partitions in the loop. The thread adds to `_received` and then
    advances `_end`; it also answers `_doubted` in `_ends`. Everything else is used by the loop only, `_labels` too."""

    def __init__(
        self,
        feedback: EndedLog | None,
        commit: Callable[[Owned, set[int]], None],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        """`commit` makes these buckets of a partition visible in their present state."""
        self._feedback, self._commit, self._metrics, self._log = feedback, commit, metrics, log
        self._received: deque[tuple[int, Feedback]] = deque(maxlen=MOST)
        self._end = 0
        self._labels = Labels(MOST)
        self._doubted: set[tuple[Partition, int]] = set()
        """Partitions that have heard further than the thread has read, each with the offset up to which it has heard."""
        self._ends: dict[tuple[Partition, int], int] = {}
        """The end of the feedback log, looked up after each of these was doubted."""
        self._over = threading.Event()

    def start(self) -> None:
        """Start the thread that reads the feedback until `close`, where there is a feedback log."""
        if self._feedback is not None:
            threading.Thread(target=self._run, args=(self._feedback,), name="feedback", daemon=True).start()

    def close(self) -> None:
        """Ask the thread to end. It is not joined, because it may be waiting for a broker."""
        self._over.set()

    def _run(self, feedback: EndedLog) -> None:
        while not self._over.is_set():
            try:
                self.read(feedback)
            except DaemonError as error:
                self._log.warning("feedback cannot be read, trying again", error=str(error))
                self._over.wait(RETRY_SECONDS)
            except Exception:  # no other code would notice that this thread ended
                self._log.exception("feedback could not be read because of a bug, trying again")
                self._over.wait(RETRY_SECONDS)
        feedback.close()

    def read(self, feedback: EndedLog) -> None:
        """Read the labels added since the last call. Then look up the log's end for the partitions in doubt."""
        passed_over = Counter[str]()
        for offset, value in feedback.read(READ_SECONDS):
            if offset < self._end:
                self._end = 0
                self._received.clear()  # they are of a topic that is gone
            try:
                self._keep(offset, feedback_codec.decode(value), passed_over)
            except Incompatible as error:
                self._metrics.count("feedback_total", outcome="refused")
                self._log.warning("feedback was refused", offset=offset, reason=str(error))
            self._end = offset + 1
        for reason, labels in passed_over.items():
            self._metrics.count("feedback_total", labels, outcome="passed_over")
            self._log.info("feedback skipped: it changes no threshold", reason=reason, labels=labels, up_to=self._end)
        if doubted := self._doubted.copy():
            self._ends.update(dict.fromkeys(doubted, feedback.end()))
            self._doubted -= doubted

    def _keep(self, offset: int, feedback: Feedback, passed_over: Counter[str]) -> None:
        if feedback.stream is None:
            passed_over["it names no stream"] += 1
        elif feedback.kind not in (None, Kind.PATTERN):
            passed_over[f"it is about a {feedback.kind} alert: only pattern alerts have thresholds"] += 1
        else:
            self._received.append((offset, feedback))

    def take(self, live: Iterable[Owned]) -> None:
        """Let each of these live partitions take in the labels that it has not heard. Called when no batch is being
        processed."""
        if (end := self._end) != self._labels.end:
            self._labels.gather(list(self._received), end)
        quiet = [owned for owned in live if owned.quiet]
        looked_for = self._labels.next(LOOKED_FOR) if quiet else []  # no stream's turn passes while none may take it in
        for owned in quiet:
            if changed := self._anew(owned) | self._new(owned, looked_for):
                self._commit(owned, changed)

    def _new(self, owned: Owned, looked_for: Collection[str]) -> set[int]:
        """Return the buckets that change by the labels that this partition has not heard, or by those of the streams in
        `looked_for`."""
        end = self._labels.end
        if max(owned.heard, owned.heard_before) > end:  # labels between the two may be of another topic
            return set()
        labelled = self._labels.since(owned.heard) if owned.heard < end else set[str]()
        owned.heard = end
        return {owned.policy.bucket_of(stream) for stream in labelled.union(looked_for) if self._one(owned, stream)}

    def _anew(self, owned: Owned) -> set[int]:
        """Return the buckets that change when this partition goes back to the beginning of a feedback log that was
        recreated. While it is not certain that it was, the partition is put in doubt, and nothing changes."""
        read_to = max(owned.heard, owned.heard_before)
        if read_to <= self._labels.end:
            return set()
        end = self._ends.pop((owned.partition, read_to), read_to)
        if end >= read_to:
            self._doubted.add((owned.partition, read_to))
            return set()
        self._metrics.count("feedback_total", outcome="begun_anew")
        self._log.warning(
            "the feedback topic was recreated or truncated: reading it from the beginning", heard=read_to, end=end
        )
        owned.heard = owned.heard_before = 0
        return owned.detector.hear_anew(owned.policy.buckets)

    def _one(self, owned: Owned, stream: str) -> bool:
        """Apply the labels of this stream, and return whether its state changed. Its row stores which labels it has
        taken in."""
        if owned.detector.newest(stream) is None:
            return False
        return sum(self._label(owned, stream, offset, label) for offset, label in self._labels.of(stream)) > 0

    def _label(self, owned: Owned, stream: str, offset: int, feedback: Feedback) -> bool:
        if not owned.detector.take_in(stream, feedback.alert_id, feedback.label, offset):
            return False
        self._metrics.count("feedback_total", outcome="taken")
        self._log.info("feedback applied", alert=feedback.alert_id, label=feedback.label, stream=stream)
        return True
