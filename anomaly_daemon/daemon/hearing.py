"""What people say of alerts reaches the streams' state, each label once, at a committed offset.

Theory of operation. A thread reads the feedback from its beginning and keeps it. Between two turns of the loop, where a
partition stands at its committed offset with nothing pending, it takes in what it has not heard yet, and the buckets this
changes are committed before its next record is read: a replay begins at them, and need not know of labels. How far a
partition has heard stands in its ledger, in the same commit; each row knows it too, for where commits are not atomic, and
for streams that come after what was said of them: those are looked for in turn, some at a time, and hear all of it then.

A partition that has heard more than there is has heard it of another topic: this one was made anew, or cut, and is heard
from its beginning. The thread is asked for the end where it has not read so far: looked at after what was heard, the end of
the same topic is never below that.
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
AGAIN_SECONDS = 5.0
"""Before the feedback is read again after a failure."""
MOST = 100_000
"""Labels kept, the newest: who takes a partition over hears what it has missed of these."""
LOOKED_FOR = 100
"""Streams, of those that something was said of, that each turn looks for: a fraction of a millisecond."""


class Hearing:
    """The thread adds to `_told` and then moves `_end` on; everything else is the loop's, `_labels` too."""

    def __init__(
        self,
        feedback: EndedLog | None,
        commit: Callable[[Owned, set[int]], None],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        """`commit` makes these buckets of a partition visible, as they stand."""
        self._feedback, self._commit, self._metrics, self._log = feedback, commit, metrics, log
        self._told: deque[tuple[int, Feedback]] = deque(maxlen=MOST)
        self._end = 0
        self._labels = Labels(MOST)
        self._doubted: set[tuple[Partition, int]] = set()
        """What has heard so far, further than was read."""
        self._ends: dict[tuple[Partition, int], int] = {}
        """The feedback's end, as it was after each of these was doubted."""
        self._over = threading.Event()

    def start(self) -> None:
        """Read for ever, where there is anything to read."""
        if self._feedback is not None:
            threading.Thread(target=self._run, args=(self._feedback,), name="feedback", daemon=True).start()

    def close(self) -> None:
        """Not joined: it may wait for a broker."""
        self._over.set()

    def _run(self, feedback: EndedLog) -> None:
        while not self._over.is_set():
            try:
                self.read(feedback)
            except DaemonError as error:
                self._log.warning("the feedback cannot be read: trying again", error=str(error))
                self._over.wait(AGAIN_SECONDS)
            except Exception:  # nobody looks after this thread
                self._log.exception("the feedback could not be read, and that is a bug: trying again")
                self._over.wait(AGAIN_SECONDS)
        feedback.close()

    def read(self, feedback: EndedLog) -> None:
        """What came since the last look."""
        passed_over = Counter[str]()
        for offset, value in feedback.read(READ_SECONDS):
            if offset < self._end:
                self._end = 0
                self._told.clear()  # of a topic that is gone
            try:
                self._keep(offset, feedback_codec.decode(value), passed_over)
            except Incompatible as error:
                self._metrics.count("feedback_total", outcome="refused")
                self._log.warning("feedback was refused", offset=offset, reason=str(error))
            self._end = offset + 1
        for reason, labels in passed_over.items():
            self._metrics.count("feedback_total", labels, outcome="passed_over")
            self._log.info("feedback moves no threshold", reason=reason, labels=labels, up_to=self._end)
        if doubted := self._doubted.copy():
            self._ends.update(dict.fromkeys(doubted, feedback.end()))
            self._doubted -= doubted

    def _keep(self, offset: int, told: Feedback, passed_over: Counter[str]) -> None:
        if told.stream is None:
            passed_over["it names no stream"] += 1
        elif told.kind not in (None, Kind.PATTERN):
            passed_over[f"it is of a {told.kind} alert: thresholds are those of patterns"] += 1
        else:
            self._told.append((offset, told))

    def take(self, live: Iterable[Owned]) -> None:
        """Let these partitions, as they stand between two turns, hear what they have not."""
        if (end := self._end) != self._labels.end:
            self._labels.gather(list(self._told), end)
        looked_for = self._labels.next(LOOKED_FOR)
        for owned in live:
            if owned.quiet and (changed := self._anew(owned) | self._new(owned, looked_for)):
                self._commit(owned, changed)

    def _new(self, owned: Owned, looked_for: Collection[str]) -> set[int]:
        """The buckets that change by what this partition has not heard, or these streams of it."""
        end = self._labels.end
        if max(owned.heard, owned.heard_before) > end:  # what is between the two may be of another topic
            return set()
        said = self._labels.since(owned.heard) if owned.heard < end else set[str]()
        owned.heard = end
        return {owned.policy.bucket_of(stream) for stream in said.union(looked_for) if self._one(owned, stream)}

    def _anew(self, owned: Owned) -> set[int]:
        """The buckets that change as this partition goes back to the beginning of a feedback that was made anew."""
        heard = max(owned.heard, owned.heard_before)
        if heard <= self._labels.end:
            return set()
        end = self._ends.pop((owned.partition, heard), heard)
        if end >= heard:
            self._doubted.add((owned.partition, heard))
            return set()
        self._metrics.count("feedback_total", outcome="begun_anew")
        self._log.warning("the feedback was made anew, or cut: hearing it from its beginning", heard=heard, end=end)
        owned.heard = owned.heard_before = 0
        return owned.detector.hear_anew(owned.policy.buckets)

    def _one(self, owned: Owned, stream: str) -> bool:
        """Whether what was said of this stream changes it; its row knows what of it is new."""
        if owned.detector.newest(stream) is None:
            return False
        return sum(self._label(owned, stream, offset, told) for offset, told in self._labels.of(stream)) > 0

    def _label(self, owned: Owned, stream: str, offset: int, told: Feedback) -> bool:
        if not owned.detector.take_in(stream, told.alert_id, told.label, offset):
            return False
        self._metrics.count("feedback_total", outcome="taken")
        self._log.info("feedback was taken in", alert=told.alert_id, label=told.label, stream=stream)
        return True
