"""What people said of alerts, by the stream it was said of: the newest labels, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import takewhile

from anomaly_daemon.transport.feedback_codec import Feedback

Label = tuple[int, Feedback]
"""Its place in the feedback, and what was said."""


class Labels:
    """Of all streams, whoever has them: `most` labels, and of each stream all that is kept of it."""

    def __init__(self, most: int) -> None:
        self.end = 0
        """Up to where the feedback was gathered."""
        self._most = most
        self._of: dict[str, deque[Label]] = {}
        self._order = deque[tuple[int, str]]()
        self._round = list[str]()
        """Streams that are still to be looked at, before all are again."""

    def gather(self, told: Iterable[Label], end: int) -> None:
        """What came since the last time, of the feedback up to `end`. Where that is before it was, all of a new topic."""
        if end < self.end:
            self.end = 0
            self._of.clear()
            self._order.clear()
            self._round.clear()
        for offset, one in told:
            if self.end <= offset < end and one.stream is not None:
                self._of.setdefault(one.stream, deque()).append((offset, one))
                self._order.append((offset, one.stream))
        self.end = end
        while len(self._order) > self._most:
            self._forget(self._order.popleft()[1])

    def of(self, stream: str) -> Iterable[Label]:
        """What was said of its alerts, the oldest first."""
        return self._of.get(stream, ())

    def since(self, offset: int) -> set[str]:
        """The streams of which something was said from this place on."""
        return {stream for _, stream in takewhile(lambda one: one[0] >= offset, reversed(self._order))}

    def next(self, count: int) -> list[str]:
        """So many streams at most, others each time, until each had its turn."""
        if not self._round:
            self._round = list(self._of)
        looked, self._round = self._round[-count:], self._round[:-count]
        return looked

    def _forget(self, stream: str) -> None:
        self._of[stream].popleft()
        if not self._of[stream]:
            del self._of[stream]
