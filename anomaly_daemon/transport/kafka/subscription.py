"""A topic read by a group of its own that goes on where it was: what is read is read again until it is committed.

What is read may be long on its way. Meanwhile `stay` is to be called every second or so: the group puts out whom it does
not hear of, would give what is in hand to another, or to us again, and nothing would ever be done. What a rebalance takes
from us is ours no more from there on (`is_ours`): who has it now begins at what was committed, and what came of ours
afterwards would be older than what is told by then. Cooperative, so that what stays with us is not read a second time.

The same traps of kafka-python 3.0.12 as in `source.py`: a join that ends between two polls is forgotten, and a member that
was put out within a rejoin is given partitions anew without being told that they were lost.
"""

from __future__ import annotations

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
from anomaly_daemon.transport.kafka.connection import (
    RETRY_SECONDS,
    connect,
    consumer_arguments,
    member_arguments,
    milliseconds,
)
from anomaly_daemon.transport.kafka.ends import hear_ends
from anomaly_daemon.transport.kafka.failures import named, translate, unwrapped
from anomaly_daemon.transport.kafka.hearing import Hearing
from anomaly_daemon.transport.kafka.rebalancing import JOIN_SECONDS, keep_fetching

POLL_SECONDS = 1.0
COMMIT_SECONDS = 1.0
"""For one try. In a rebalance none succeeds, and the rebalance waits for our next poll."""
CLOSE_SECONDS = 5.0


class Read(NamedTuple):
    """A record, and where it stands."""

    partition: int
    offset: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    turn: int = 0
    """How often its partition had left us when it was read."""


class Subscription:
    """One thread's alone."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        group: str,
        *,
        from_beginning: bool,
        retry_seconds: float,
        left: Callable[[Iterable[int]], None] = lambda _partitions: None,
    ) -> None:
        """`from_beginning`: where a group begins that has committed nothing yet; else at the end that it finds.
        `retry_seconds`: how long a broker may be silent. `left` is told of partitions that are ours no more.

        Raises:
            Incompatible: there is no such topic, and none is made within `kafka.bootstrap_timeout_seconds`.
        """
        self._topic, self._left, self._retry_seconds = topic, left, retry_seconds
        self._session_seconds, self._polled = kafka.session_timeout_seconds, time.monotonic()
        self.begins_at_end = False
        """The group had committed nothing, and passes over what is on the topic already."""
        self._turns = Counter[int]()
        self._done: dict[int, int] = {}
        """Of each partition the offset that is to be committed."""
        self._since: float | None = None
        """From when on no commit has succeeded."""
        self._ahead: list[Read] = []
        """Read while we stayed."""
        self._member_id = ""
        self._astray = False
        """The group has put us out: where we stand counts no more, once it has taken us in again."""
        self._consumer: Any = connect(kafka, KafkaConsumer, **_arguments(kafka, group))
        keep_fetching(self._consumer)
        self.hearing = Hearing(hear_ends(self._consumer), self._consumer, retry_seconds)
        with named(f"looking for topic {topic}"):
            if not self._is_there(kafka.bootstrap_timeout_seconds):
                self._consumer.close()
                raise Incompatible(f"topic {topic!r} does not exist, or this user may not describe it")
            if not from_beginning:
                self._begin_at_the_end()
            self._consumer.subscribe([topic], listener=_Listener(self))

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
        self.begins_at_end = True
        with suppress(CommitFailedError, UnknownMemberIdError):  # another that began just now has done it
            self._consumer.commit({name: OffsetAndMetadata(offset, "", -1) for name, offset in ends.items()})

    def read(self) -> list[Read]:
        """What there is within a second, in the order of each partition. Commits what is done before.

        Raises:
            Unavailable: the brokers have not answered for `retry_seconds`.
        """
        self.commit()
        found, self._ahead = self._ahead, []
        found += self._poll(POLL_SECONDS if not found else 0.0)
        self.hearing.look(time.monotonic())
        return [one for one in found if self.is_ours(one)]

    def stay(self) -> None:
        """Commit what is done, and tell the group that we are there, while what was read is on its way."""
        self.commit()
        paused = self._consumer.assignment()
        self._consumer.pause(*paused)
        self._ahead += self._poll(JOIN_SECONDS)  # of partitions that came just now
        self._consumer.resume(*(paused & self._consumer.assignment()))

    def joined(self) -> bool:
        """Whether the group counts us in."""
        return bool(self._consumer.group_metadata().state == MemberState.STABLE)

    def is_ours(self, one: Read) -> bool:
        """Whether its partition has been ours without a gap since it was read."""
        return one.turn == self._turns[one.partition]

    def done(self, one: Read) -> None:
        """It, and all before it, need not be read again."""
        if self.is_ours(one):
            self._done[one.partition] = one.offset + 1

    def commit(self) -> None:
        """What is done. What cannot be committed now is tried again by the next call.

        Raises:
            Unavailable: it could not for `retry_seconds`.
        """
        if not self._done:
            return
        ends = {TopicPartition(self._topic, number): end for number, end in self._done.items()}
        told = {name: OffsetAndMetadata(end, "", -1) for name, end in ends.items()}
        try:
            self._consumer.commit(told, timeout_ms=milliseconds(COMMIT_SECONDS))
        except CommitFailedError:  # the group has put us out
            self._stray()
        except KafkaError as error:
            self._not_committed(error)
        else:
            self._done.clear()
            self._since = None

    def _not_committed(self, error: Any) -> None:
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        error = unwrapped(error)
        may_pass = error.retriable or isinstance(error, RebalanceInProgressError)
        if may_pass and now - self._since > self._retry_seconds:
            waited = f"for {now - self._since:.0f} s (limits.retry_seconds)"
            raise Unavailable(f"{self._topic} could not be committed {waited}: {error}") from error
        if not may_pass:
            raise translate(error, f"committing {self._topic}") from error

    def close(self) -> None:
        """Leaves the group, once more committing what is done; what fails is done again by the next start."""
        with suppress(KafkaError, DaemonError):
            self.commit()
        with suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=milliseconds(CLOSE_SECONDS))

    def take_back(self, partitions: Iterable[int]) -> None:
        """These are another's, or were meanwhile: what we hold of them counts no more. On the client's IO thread, while
        ours waits for it."""
        gone = set(partitions)
        self._turns.update(gone)
        for number in gone:
            self._done.pop(number, None)
        self._ahead = [one for one in self._ahead if one.partition not in gone]
        self._left(gone)

    def _poll(self, seconds: float) -> list[Read]:
        with named(f"reading {self._topic}"):
            self._notice_sleep()
            found = self._consumer.poll(timeout_ms=milliseconds(seconds))
            self._see_join_through()
            if self._became_another_member():
                self._stray()
            if self._astray:
                found = {}
                self._start_over()
        return list(self._rows(found))

    def _notice_sleep(self) -> None:
        """Who stood still for longer than the session is put out, and hears of it only later: join anew at once."""
        before, self._polled = self._polled, time.monotonic()
        if self._member_id and self._polled - before > self._session_seconds:
            self._stray()
            self._consumer._coordinator.request_rejoin()

    def _see_join_through(self) -> None:
        coordinator = self._consumer._coordinator
        if self._consumer.group_metadata().state == MemberState.REBALANCING and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _became_another_member(self) -> bool:
        before, now = self._member_id, self._consumer.group_metadata().member_id
        self._member_id = now or before
        return bool(before) and now not in ("", before)

    def _stray(self) -> None:
        self._astray = True
        self.take_back({name.partition for name in self._consumer.assignment()} | self._done.keys())

    def _start_over(self) -> None:
        """At what is committed: another may have had the partitions in between."""
        if not self.joined() or self._consumer._coordinator.need_rejoin():
            return
        for name in self._consumer.assignment():
            committed = self._consumer.committed(name)
            if committed is None:
                self._consumer.seek_to_beginning(name)
            else:
                self._consumer.seek(name, committed)
        self._astray = False

    def _rows(self, found: Any) -> Iterator[Read]:
        for name, records in found.items():
            turn = self._turns[name.partition]
            for record in records:
                yield Read(name.partition, record.offset, record.value, tuple(record.headers), turn)


def _arguments(kafka: KafkaSettings, group: str) -> dict[str, Any]:
    return {
        **consumer_arguments(kafka),
        **member_arguments(kafka),
        "auto_offset_reset": "earliest",  # what retention has left, and partitions that are new, in whole
        "group_id": group,
        "group_instance_id": None,  # the daemon's: two of us would have one
    }


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """They are read from what is committed."""

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._subscription.take_back(name.partition for name in revoked)

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._subscription.take_back(name.partition for name in lost)
