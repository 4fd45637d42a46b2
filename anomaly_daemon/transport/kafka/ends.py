"""Collects the log end offsets ("ends") of partitions, as their leaders report them.

The client keeps the last end that it received for a partition indefinitely: while the leader is away, after a seek, and
when an assignment is kept. Compared with the position, it would then indicate "caught up" where the end is unknown. So
each end is removed here when it is read (`pop_reported`), and counts only until then. The client also examines a
response only when the earlier ones have been read, which in a backlog happens one partition after the other. So each
response is examined here as it arrives.

A fetch that returns no records reports the end all the same. But in a fetch session (KIP-227) a partition without news
is omitted from the response, and its end is not reported. Fetching without sessions takes a tenth of a core where fifty
partitions are idle beside one that is not (250 fetches a second). So each session is restarted every `ASK_SECONDS`,
because the first response of a session has all partitions. That takes a thirtieth of a core.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import FetchSessionHandler

ASK_SECONDS = 0.4
"""Seconds between two requests for all ends. A fetch waits half a second for records, so where there are none each
fetch asks."""


class AskingSession(FetchSessionHandler):  # type: ignore[misc] # kafka-python has no types
    """The client's fetch session with one broker (kafka-python 3.0.12), restarted every `ASK_SECONDS`."""

    next_metadata: Any

    def __init__(self, node_id: Any) -> None:
        super().__init__(node_id)
        self._asked = time.monotonic()

    def build_next(self, next_partitions: Any) -> Any:
        """Return the content of the next fetch: the first one of a new session where `ASK_SECONDS` have passed."""
        now = time.monotonic()
        if not self.next_metadata.is_full and now - self._asked >= ASK_SECONDS:
            self.next_metadata = self.next_metadata.next_close_existing()
        if self.next_metadata.is_full:
            self._asked = now
        return super().build_next(next_partitions)


class _Sessions(dict[Any, Any]):
    """The sessions by broker. A session that the client stores is replaced by an `AskingSession`."""

    def __setitem__(self, node_id: Any, session: Any) -> None:
        super().__setitem__(node_id, AskingSession(node_id))


class Ends:
    """The ends of one consumer's partitions, collected from the responses to its fetches (kafka-python 3.0.12; on its
    IO thread)."""

    def __init__(self, consumer: Any) -> None:
        self._fetcher, self._subscription = consumer._fetcher, consumer._subscription
        self._reported: dict[TopicPartition, int] = {}

    def note_response(self, fetch_offsets: Mapping[TopicPartition, int], response: Any) -> None:
        """Note the ends in a response to a fetch, by the conditions by which the client would accept them later."""
        for topic in response.responses:
            for part in topic.partitions:
                name = TopicPartition(topic.topic, part.partition_index)
                if part.error_code == 0 and part.high_watermark >= 0 and self._asks(name, fetch_offsets.get(name)):
                    self._reported[name] = int(part.high_watermark)

    def _asks(self, name: TopicPartition, offset: int | None) -> bool:
        """Return whether that fetch is still valid for the partition: it is assigned, not paused, and still at that
        offset."""
        ours = self._subscription.assignment.get(name)
        return ours is not None and bool(ours.is_fetchable()) and ours.position.offset == offset

    def pop_reported(self) -> Mapping[TopicPartition, int]:
        """Return and remove the ends that were reported since the last call, for partitions that are assigned."""
        assigned = self._subscription.assignment
        return {name: self._reported.pop(name) for name in list(self._reported) if name in assigned}

    def forget(self, name: TopicPartition) -> None:
        """Discard the end reported for this partition: it does not apply to the new position."""
        self._reported.pop(name, None)

    def owed(self) -> Collection[TopicPartition]:
        """Return the partitions whose end is being asked for: not paused, and without fetched records that wait in this
        client. Empty while records of a partition are left over from a poll, because the next poll then does not fetch.
        """
        fetcher = self._fetcher
        if fetcher._next_partition_records:
            return ()
        waiting = {one.topic_partition for one in fetcher._completed_fetches.copy()}
        waiting |= {*fetcher._paused_completed_fetches, *fetcher._paused_partition_records}
        return {name for name in self._subscription.assigned_partitions() if not self._paused(name)} - waiting

    def _paused(self, name: TopicPartition) -> bool:
        return bool(self._subscription.is_paused(name))


def track_ends(consumer: Any) -> Ends:
    """Change this consumer to note the end of each of its partitions as it is reported, whether or not other partitions
    have a backlog. Returns the ends."""
    ends, fetcher = Ends(consumer), consumer._fetcher
    handle = fetcher._handle_fetch_response

    def handle_and_note(node_id: Any, fetch_offsets: Any, send_time: Any, response: Any) -> None:
        ends.note_response(fetch_offsets, response)
        handle(node_id, fetch_offsets, send_time, response)

    fetcher._handle_fetch_response = handle_and_note
    fetcher._session_handlers = _Sessions()
    return ends
