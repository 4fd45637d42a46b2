"""How far partitions go, as their leaders said lately.

The client keeps the last end that it heard of a partition for good: through a leader that is away, a seek, and an
assignment that is kept. Compared with our position, it then says "caught up" of what nobody knows. So an end is taken
out as it is read, and counts until then. The client also looks into an answer only when those before it are read: of a
backlog, partition after partition. So we look as it comes in. A fetch that brings no records tells the end all the same;
but in a session (KIP-227) a partition without news is left out of the answer, and nobody hears of it. To go without
sessions takes a tenth of a core where fifty partitions rest beside one that does not (250 fetches a second). So a session
is begun anew every so often: its first answer has all partitions. That takes a thirtieth.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
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


class Ends:
    """Of one consumer's partitions, as the answers to its fetches come in (kafka-python 3.0.12; on its IO thread)."""

    def __init__(self, consumer: Any) -> None:
        self._fetcher, self._subscription = consumer._fetcher, consumer._subscription
        self._heard: dict[TopicPartition, int] = {}

    def answered(self, fetch_offsets: Mapping[TopicPartition, int], response: Any) -> None:
        """What the client would believe of it by itself, later."""
        for topic in response.responses:
            for told in topic.partitions:
                name = TopicPartition(topic.topic, told.partition_index)
                if told.error_code == 0 and told.high_watermark >= 0 and self._asks(name, fetch_offsets.get(name)):
                    self._heard[name] = int(told.high_watermark)

    def _asks(self, name: TopicPartition, offset: int | None) -> bool:
        """Whether that question is still ours: neither paused nor put elsewhere since."""
        ours = self._subscription.assignment.get(name)
        return ours is not None and bool(ours.is_fetchable()) and ours.position.offset == offset

    def take(self) -> Mapping[TopicPartition, int]:
        """The ends that were heard since they were last taken, or forgotten."""
        assigned = self._subscription.assignment
        return {name: self._heard.pop(name) for name in list(self._heard) if name in assigned}

    def forget(self, name: TopicPartition) -> None:
        """What was heard of it is no answer to where we stand now."""
        self._heard.pop(name, None)

    def owed(self) -> Collection[TopicPartition]:
        """Those that are asked for: not paused, and without records that wait here. None while records of one are left
        over by a poll, for then the next does not ask."""
        fetcher = self._fetcher
        if fetcher._next_partition_records:
            return ()
        waiting = {one.topic_partition for one in fetcher._completed_fetches.copy()}
        waiting |= {*fetcher._paused_completed_fetches, *fetcher._paused_partition_records}
        return {name for name in self._subscription.assigned_partitions() if not self._paused(name)} - waiting

    def _paused(self, name: TopicPartition) -> bool:
        return bool(self._subscription.is_paused(name))


def hear_ends(consumer: Any) -> Ends:
    """Change this consumer to hear of the end of each of its partitions, whatever comes of the others."""
    ends, fetcher = Ends(consumer), consumer._fetcher
    handle = fetcher._handle_fetch_response

    def handle_and_hear(node_id: Any, fetch_offsets: Any, send_time: Any, response: Any) -> None:
        ends.answered(fetch_offsets, response)
        handle(node_id, fetch_offsets, send_time, response)

    fetcher._handle_fetch_response = handle_and_hear
    fetcher._session_handlers = _Sessions()
    return ends
