"""A topic read by a group of its own that goes on where it was: what is read is read again until it is committed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CommitFailedError, UnknownMemberIdError
from kafka.structs import OffsetAndMetadata

from anomaly_daemon.errors import Incompatible
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import RETRY_SECONDS, connect, consumer_arguments, milliseconds
from anomaly_daemon.transport.kafka.failures import named

POLL_SECONDS = 1.0


class Read(NamedTuple):
    """A record, and where it stands."""

    partition: int
    offset: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Subscription:
    """One thread's alone."""

    def __init__(self, kafka: KafkaSettings, topic: str, group: str, *, from_beginning: bool) -> None:
        """`from_beginning`: where a group begins that has committed nothing yet; else at the end that it finds.

        Raises:
            Incompatible: there is no such topic, and none is made within `kafka.bootstrap_timeout_seconds`.
        """
        self._topic = topic
        arguments = consumer_arguments(kafka) | {
            "auto_offset_reset": "earliest",  # what retention has left, and partitions that are new, in whole
            "group_id": group,
            "session_timeout_ms": milliseconds(kafka.session_timeout_seconds),
            "heartbeat_interval_ms": milliseconds(kafka.session_timeout_seconds / 3),
            "max_poll_interval_ms": milliseconds(kafka.max_poll_interval_seconds),
        }
        self._consumer: Any = connect(kafka, KafkaConsumer, **arguments)
        with named(f"looking for topic {topic}"):
            if not self._is_there(kafka.bootstrap_timeout_seconds):
                self._consumer.close()
                raise Incompatible(f"topic {topic!r} does not exist, or this user may not describe it")
            if not from_beginning:
                self._begin_at_the_end()
            self._consumer.subscribe([topic])
        self._ahead: list[Read] = []
        """Read while we stayed."""

    def _is_there(self, seconds: float) -> bool:
        """Within so long: a daemon that was started together with us may be about to make it."""
        until = time.monotonic() + seconds
        while not self._consumer.partitions_for_topic(self._topic):
            if time.monotonic() >= until:
                return False
            time.sleep(RETRY_SECONDS)
        return True

    def _begin_at_the_end(self) -> None:
        """A group that has committed nothing yet begins here, and that is committed before anything is read: what comes
        before its first message is done would be passed over by a later start."""
        names = [TopicPartition(self._topic, number) for number in self._consumer.partitions_for_topic(self._topic)]
        if any(self._consumer.committed(name) is not None for name in names):
            return
        ends = self._consumer.end_offsets(names)
        with suppress(CommitFailedError, UnknownMemberIdError):  # another that began just now has done it
            self._consumer.commit({name: OffsetAndMetadata(offset, "", -1) for name, offset in ends.items()})

    def read(self) -> list[Read]:
        """What there is within a second, in the order of each partition."""
        if self._ahead:
            found, self._ahead = self._ahead, []
            return found
        return self._poll(milliseconds(POLL_SECONDS))

    def stay(self) -> None:
        """Tell the group that we are there, while what was read is on its way."""
        paused = self._consumer.assignment()
        self._consumer.pause(*paused)
        self._ahead += self._poll(0)  # of partitions that came just now
        self._consumer.resume(*(paused & self._consumer.assignment()))

    def commit(self, done: Iterable[Read]) -> bool:
        """These, and all before them, are done. False where the group has given them to another, who reads them again."""
        ends = {TopicPartition(self._topic, one.partition): one.offset + 1 for one in done}
        ours = {name: OffsetAndMetadata(ends[name], "", -1) for name in ends.keys() & self._consumer.assignment()}
        with named(f"committing {self._topic}"):
            try:
                self._consumer.commit(ours)
            except CommitFailedError:
                return False
        return len(ours) == len(ends)

    def close(self) -> None:
        self._consumer.close(autocommit=False)

    def _poll(self, timeout_ms: int) -> list[Read]:
        with named(f"reading {self._topic}"):
            found = self._consumer.poll(timeout_ms=timeout_ms)
        return list(_rows(found))


def _rows(found: Any) -> Iterator[Read]:
    for name, records in found.items():
        for record in records:
            yield Read(name.partition, record.offset, record.value, tuple(record.headers))
