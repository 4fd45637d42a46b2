"""The newest labels that people gave to alerts, by the stream of the alert, in the order of the feedback log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import takewhile

from anomaly_daemon.transport.feedback_codec import Feedback

Label = tuple[int, Feedback]
"""The offset of a label in the feedback log, and the label itself."""


class Labels:
    """Labels of all streams, whichever member has them: the newest `most` labels, indexed by stream."""

    def __init__(self, most: int) -> None:
        self.end = 0
        """The offset in the feedback log up to which labels were gathered."""
        self._most = most
        self._of: dict[str, deque[Label]] = {}
        self._order = deque[tuple[int, str]]()
        self._round = list[str]()
        """Streams that `next` has not returned yet in the present round over all of them."""

    def gather(self, labels: Iterable[Label], end: int) -> None:
        """Add the labels from the last `end` up to this one. Where this end is below the last one, the log is of a new
        topic: all stored labels are dropped first, and those of the new topic are added from its beginning."""
        if end < self.end:
            self.end = 0
            self._of.clear()
            self._order.clear()
            self._round.clear()
        for offset, one in labels:
            if self.end <= offset < end and one.stream is not None:
                self._of.setdefault(one.stream, deque()).append((offset, one))
                self._order.append((offset, one.stream))
        self.end = end
        while len(self._order) > self._most:
            self._forget(self._order.popleft()[1])

    def of(self, stream: str) -> Iterable[Label]:
        """The labels of this stream's alerts, the oldest first."""
        return self._of.get(stream, ())

    def since(self, offset: int) -> set[str]:
        """The streams that have a label at this offset or after it."""
        return {stream for _, stream in takewhile(lambda one: one[0] >= offset, reversed(self._order))}

    def next(self, count: int) -> list[str]:
        """Return at most `count` streams, different ones at each call until every stream had its turn."""
        if not self._round:
            self._round = list(self._of)
        looked, self._round = self._round[-count:], self._round[:-count]
        return looked

    def _forget(self, stream: str) -> None:
        self._of[stream].popleft()
        if not self._of[stream]:
            del self._of[stream]
