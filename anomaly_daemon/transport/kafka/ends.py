"""How far partitions go, as their leaders said lately.

The client keeps the last end that it heard of a partition for good: through a leader that is away, a seek, and an
assignment that is kept. Compared with our position, it then says "caught up" of what nobody knows. So an end is taken
out as it is read, and counts until then. A fetch that brings no records tells the end all the same; but in a session
(KIP-227) a partition without news is left out of the answer, and nobody hears of it. To go without sessions takes a tenth
of a core where fifty partitions rest beside one that does not (250 fetches a second). So a session is begun anew every so
often: its first answer has all partitions. That takes a thirtieth.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import FetchSessionHandler

ASK_SECONDS = 0.4
"""Between two questions for every end. A fetch waits half a second for records, so where there are none each asks."""


class AskingSession(FetchSessionHandler):  # type: ignore[misc] # kafka-python has no types
    """The client's session with one broker (kafka-python 3.0.12), begun anew every `ASK_SECONDS`."""

    next_metadata: Any

    def __init__(self, node_id: Any) -> None:
        super().__init__(node_id)
        self._asked = time.monotonic()

    def build_next(self, next_partitions: Any) -> Any:
        """What to ask for in the next fetch."""
        now = time.monotonic()
        if not self.next_metadata.is_full and now - self._asked >= ASK_SECONDS:
            self.next_metadata = self.next_metadata.next_close_existing()
        if self.next_metadata.is_full:
            self._asked = now
        return super().build_next(next_partitions)


class _Sessions(dict[Any, Any]):
    """By broker; the client puts in sessions of its own kind."""

    def __setitem__(self, node_id: Any, session: Any) -> None:
        super().__setitem__(node_id, AskingSession(node_id))


def hear_ends(consumer: Any) -> None:
    """Change this consumer to hear of the end of each of its partitions, whatever comes of the others."""
    consumer._fetcher._session_handlers = _Sessions()


def take_ends(consumer: Any) -> Mapping[TopicPartition, int]:
    """The ends that were heard since they were last taken, or forgotten."""
    ends = {name: consumer.highwater(name) for name in consumer.assignment()}
    for name in ends:
        forget_end(consumer, name)
    return {name: int(end) for name, end in ends.items() if end is not None}


def forget_end(consumer: Any, name: TopicPartition) -> None:
    """What was heard of it is no answer to where we stand now."""
    consumer._subscription.assignment[name].highwater = None
