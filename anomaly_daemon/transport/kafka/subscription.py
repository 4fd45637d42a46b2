"""A topic read by a group of its own, which continues where it was: a record is read again until it is committed.

The processing of a record may take long. Meanwhile `keep_alive` must be called every second or so. Otherwise the group
would put this member out and give the records in hand to another member, or to this one again, and nothing would ever
be done. A partition that a rebalance takes away is no longer this member's from that moment on (`is_ours`). Its new
owner begins at the committed offset, and what this member sends of it afterwards would be older than what the new owner
has sent by then. The assignment is cooperative, so that partitions that stay are not read a second time.

The traps of kafka-python 3.0.12 are those of `source.py`: a join that ends between two polls is forgotten, and a member
that was put out during a rejoin is given partitions again without being told that they were lost.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import CommitFailedError, KafkaError, RebalanceInProgressError, UnknownMemberIdError
from kafka.structs import MemberState, OffsetAndMetadata

from anomaly_daemon.errors import DaemonError, Incompatible, Unavailable
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.broker_monitor import BrokerMonitor
from anomaly_daemon.transport.kafka.connection import (
    RETRY_SECONDS,
    connect,
    consumer_arguments,
    member_arguments,
    milliseconds,
)
from anomaly_daemon.transport.kafka.ends import track_ends
from anomaly_daemon.transport.kafka.failures import named, translate, unwrapped
from anomaly_daemon.transport.kafka.rebalancing import JOIN_SECONDS, keep_fetching, resume_forgotten_join
from anomaly_daemon.transport.kafka.topic_identity import TopicIdentity

POLL_SECONDS = 1.0
COMMIT_SECONDS = 1.0
"""Time limit of one attempt. During a rebalance none succeeds, and the rebalance waits for this member's next poll."""
CLOSE_SECONDS = 5.0


class TopicRecord(NamedTuple):
    """A record with its partition and offset."""

    partition: int
    offset: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    epoch: int = 0
    """How often this member had lost the partition when the record was read."""


class Subscription:
    """A consumer of the topic in its group. Only one thread may use it."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        group: str,
        *,
        from_beginning: bool,
        retry_seconds: float,
        on_lost: Callable[[Iterable[int]], None] = lambda _partitions: None,
    ) -> None:
        """`from_beginning`: whether a group that has committed nothing begins at the beginning, or at the present end.
        `retry_seconds`: how long a broker may be silent. `on_lost` is called with partitions that were lost.

        Raises:
            Incompatible: there is no such topic, and none is made within `kafka.bootstrap_timeout_seconds`.
        """
        self._topic, self._on_lost, self._retry_seconds = topic, on_lost, retry_seconds
        self._session_seconds, self._polled_at = kafka.session_timeout_seconds, time.monotonic()
        self.begins_at_end = False
        """Whether the group had committed nothing, and skips the records that are on the topic already."""
        self._member_id, self._epochs = "", Counter[int]()
        self._offsets: dict[int, int] = {}
        """The offset to commit, by partition."""
        self._failing_since: float | None = None
        """Monotonic time since when no commit has succeeded; None where the last one has."""
        self._buffered: list[TopicRecord] = []
        """Records that `keep_alive` has read."""
        self._evicted = False
        """Whether the group has put this member out. Once it has joined again, its positions are reset."""
        self._consumer: Any = connect(kafka, KafkaConsumer, **_arguments(kafka, group))
        keep_fetching(self._consumer)
        self._identity = TopicIdentity(self._consumer, topic)
        self.monitor = BrokerMonitor(track_ends(self._consumer), self._consumer, retry_seconds)
        with named(f"looking for topic {topic}"):
            if not self._topic_exists(kafka.bootstrap_timeout_seconds):
                self._consumer.close()
                raise Incompatible(f"topic {topic!r} does not exist, or this user may not describe it")
            if not from_beginning:
                self._begin_at_the_end()
            self._consumer.subscribe([topic], listener=_Listener(self))

    def _topic_exists(self, seconds: float) -> bool:
        """Return whether the topic exists, waiting for it up to `seconds`: a daemon that was started together with this
        process may be about to create it."""
        until = time.monotonic() + seconds
        while not self._consumer.partitions_for_topic(self._topic):
            if time.monotonic() >= until:
                return False
            time.sleep(RETRY_SECONDS)
        return True

    def _begin_at_the_end(self) -> None:
        """Begin at the present ends where the group has committed nothing yet. They are committed before anything is
        read, or else records that arrive before the first message is done would be skipped by a later start."""
        names = [TopicPartition(self._topic, number) for number in self._consumer.partitions_for_topic(self._topic)]
        if any(self._consumer.committed(name) is not None for name in names):
            return
        ends = self._consumer.end_offsets(names)
        self.begins_at_end = True
        with suppress(CommitFailedError, UnknownMemberIdError):  # another process that began just now has done it
            self._consumer.commit({name: OffsetAndMetadata(offset, "", -1) for name, offset in ends.items()})

    def read(self) -> list[TopicRecord]:
        """Return the records that arrive within a second, in the order of each partition. Commits first what is done.

        Raises:
            Unavailable: the brokers have not answered for `retry_seconds`.
        """
        self.commit()
        found, self._buffered = self._buffered, []
        found += self._poll(POLL_SECONDS if not found else 0.0)
        self.monitor.update(time.monotonic())
        return [one for one in found if self.is_ours(one)]

    def keep_alive(self) -> None:
        """Commit what is done, and keep the place in the group while records that were read are being processed."""
        self.commit()
        paused = self._consumer.assignment()
        self._consumer.pause(*paused)
        self._buffered += self._poll(JOIN_SECONDS)  # of partitions that were assigned just now
        self._consumer.resume(*(paused & self._consumer.assignment()))
        self.monitor.exclude_pause(time.monotonic())

    def joined(self) -> bool:
        """Return whether the group counts this process as a member, with no rebalance under way."""
        return bool(self._consumer.group_metadata().state == MemberState.STABLE)

    def is_ours(self, one: TopicRecord) -> bool:
        """Return whether the record's partition has been assigned to this member without a gap since it was read."""
        return one.epoch == self._epochs[one.partition]

    def done(self, one: TopicRecord) -> None:
        """Note that this record, and all before it in its partition, need not be read again."""
        if self.is_ours(one):
            self._offsets[one.partition] = one.offset + 1

    def commit(self) -> None:
        """Commit what is done. Offsets that cannot be committed now are tried again by the next call.

        Raises:
            Unavailable: they could not be committed for `retry_seconds`.
        """
        if not self._offsets:
            return
        ends = {TopicPartition(self._topic, number): end for number, end in self._offsets.items()}
        offsets = {name: OffsetAndMetadata(end, "", -1) for name, end in ends.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=milliseconds(COMMIT_SECONDS))
        except CommitFailedError:  # the group has put this member out
            self._mark_evicted()
        except KafkaError as error:
            self._not_committed(error)
        else:
            self._offsets.clear()
            self._failing_since = None

    def _not_committed(self, error: Any) -> None:
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        error = unwrapped(error)
        may_pass = error.retriable or isinstance(error, RebalanceInProgressError)
        if may_pass and now - self._failing_since > self._retry_seconds:
            waited = f"for {now - self._failing_since:.0f} s (limits.retry_seconds)"
            raise Unavailable(f"{self._topic} could not be committed {waited}: {error}") from error
        if not may_pass:
            raise translate(error, f"committing {self._topic}") from error

    def close(self) -> None:
        """Leave the group, after a last commit of what is done. What this does not commit is done again by the next
        start or by another member."""
        until = time.monotonic() + CLOSE_SECONDS
        with suppress(KafkaError, DaemonError):
            self.commit()
            while self._offsets and time.monotonic() < until:
                self.keep_alive()  # during a rebalance nothing can be committed before this member has joined again
        with suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=milliseconds(CLOSE_SECONDS))

    def discard(self, partitions: Iterable[int]) -> None:
        """Discard what is held of partitions that another member has, or had meanwhile. Also called on the client's IO
        thread, while the thread that uses this object waits for it."""
        lost = set(partitions)
        self._epochs.update(lost)
        for number in lost:
            self._offsets.pop(number, None)
        self._buffered = [one for one in self._buffered if one.partition not in lost]
        self._on_lost(lost)

    def _poll(self, seconds: float) -> list[TopicRecord]:
        with named(f"reading {self._topic}"):
            self._detect_suspension()
            found = self._consumer.poll(timeout_ms=milliseconds(seconds))
            resume_forgotten_join(self._consumer)
            if self._member_id_changed():
                self._mark_evicted()
            if self._evicted:
                found = {}
                self._reset_positions()
            if self._identity.changed():
                found = {}
                self._read_recreated()
        return list(self._rows(found))

    def _detect_suspension(self) -> None:
        """Rejoin at once after this process stood still, or could not reach the group, for about as long as the session
        timeout: the group may have put it out, and the client learns of that only later. The group counts from the last
        heartbeat, which was up to an interval before the last poll."""
        before, self._polled_at = self._polled_at, time.monotonic()
        heartbeat = self._consumer._coordinator.heartbeat
        confirmed = max(heartbeat.last_receive, heartbeat.last_reset) if self.joined() else before
        least = self._session_seconds - heartbeat.config["heartbeat_interval_ms"] / 1000
        if self._member_id and self._polled_at - min(before, confirmed) > least:
            self._mark_evicted()
            self._consumer._coordinator.request_rejoin()

    def _member_id_changed(self) -> bool:
        before, now = self._member_id, self._consumer.group_metadata().member_id
        self._member_id = now or before
        return bool(before) and now not in ("", before)

    def _mark_evicted(self) -> None:
        self._evicted = True
        self.discard({name.partition for name in self._consumer.assignment()} | self._offsets.keys())

    def _reset_positions(self) -> None:
        """Return to the committed offsets once the group is joined again: another member may have had the partitions in
        between."""
        if not self.joined() or self._consumer._coordinator.need_rejoin():
            return
        for name in self._consumer.assignment():
            committed = self._consumer.committed(name)
            if committed is None:
                self._consumer.seek_to_beginning(name)
            else:
                self._consumer.seek(name, committed)
        self._evicted = False

    def _read_recreated(self) -> None:
        """Read the topic from its beginning, as another one has its name. The offsets that were committed, or would be,
        are those of the former one."""
        names = self._consumer.assignment()
        self.discard(name.partition for name in names)
        for name in names:
            self._consumer.seek_to_beginning(name)
        self._offsets = {name.partition: 0 for name in names}
        text = "the topic was recreated: it is read from its beginning"
        logging.getLogger("anomaly_daemon").warning(text, extra={"topic": self._topic})

    def _rows(self, found: Any) -> Iterator[TopicRecord]:
        for name, records in found.items():
            epoch = self._epochs[name.partition]
            for record in records:
                yield TopicRecord(name.partition, record.offset, record.value, tuple(record.headers), epoch)


def _arguments(kafka: KafkaSettings, group: str) -> dict[str, Any]:
    return {
        **consumer_arguments(kafka),
        **member_arguments(kafka),
        "auto_offset_reset": "earliest",  # all that retention has left, and new partitions in full
        "group_id": group,
        "group_instance_id": None,  # the daemon's: two members would share it
    }


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Nothing to do: partitions are read from their committed offsets."""

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._subscription.discard(name.partition for name in revoked)

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._subscription.discard(name.partition for name in lost)
