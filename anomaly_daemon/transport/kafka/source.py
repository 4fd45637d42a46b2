"""Reads records from Kafka with one consumer of a group, whose partitions the group assigns.

Theory of operation (what the code below relies on, read in kafka-python 3.0.12's source):

* The client has an IO thread of its own for heartbeats and fetches. The rest of a rebalance is driven by `poll`:
  listeners run on the IO thread, but only while some thread waits inside `KafkaConsumer.poll` or `close`. So a
  listener never runs while the loop computes or delivers, and no lock is needed between the two.
* In a listener `pause`, `seek` and `group_metadata` work, and so does a whole producer transaction (the producer has
  its own thread). Calls of the consumer that wait for a broker raise, and a restore makes such calls. Therefore:
  - *assigned*: the listener pauses the new partitions and gives them a position, so that the client neither fetches
    them nor looks up offsets. The loop is told on its own thread before `poll` returns, and restores there.
  - *lost*: queued in the same way. This poll has fetched nothing for them, and the loop is told before it delivers.
  - *revoked*: told at once, on the IO thread, while the loop's thread waits in `poll`. This cannot be deferred: the
    next turn of the same `poll` would rejoin, and only that lets another member have the partitions. Until then a
    transaction of the generation just joined is accepted. No heartbeats are sent; the delivery's watchdog limits this.
* Cooperative-sticky: partitions that stay keep their position and their pause. No other member is assigned a partition
  before this one was told of its revocation and has rejoined. So what is processed stays assigned while the generation
  changes, and a commit may carry the *current* generation, as long as this is the same member without a gap. That is
  what `membership` checks. Metadata kept from the poll would be refused at every rebalance that overlaps a commit.
* A trap: when the group evicts this member in the middle of a rejoin, the client rejoins as a new member without
  calling `on_partitions_lost`, and partitions that come back look as though they never left. A changed member id
  shows it: partitions owned at that time are reported lost, and assigned again.
* The client never chooses offsets: a partition whose position retention overtook is taken over again, which reports it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError, OffsetOutOfRangeError
from kafka.structs import MemberState

from anomaly_daemon.errors import Evicted, Incompatible
from anomaly_daemon.settings import KafkaSettings, SourceSettings
from anomaly_daemon.transport.kafka.blocks import joined, read_in_blocks
from anomaly_daemon.transport.kafka.columns import record_batch
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments, member_arguments, milliseconds
from anomaly_daemon.transport.kafka.ends import track_ends
from anomaly_daemon.transport.kafka.failures import named, translate, within
from anomaly_daemon.transport.kafka.offsets import Offsets
from anomaly_daemon.transport.kafka.rebalancing import keep_fetching, resume_forgotten_join
from anomaly_daemon.transport.kafka.topic_identity import TopicIdentity
from anomaly_daemon.transport.ports import Partition, Rebalance, RecordBatch

CLOSE_SECONDS = 5.0


class KafkaSource:
    """`ports.Source` over one input topic. One loop uses it; only a take-over may ask from another thread."""

    def __init__(self, kafka: KafkaSettings, source: SourceSettings) -> None:
        """Connect. Raises Unavailable, NotPermitted, ConfigurationError or Incompatible, with what to change."""
        if source.topic is None:
            raise Incompatible("source.topic is not set")
        self._kafka, self._topic, self._start = kafka, source.topic, source.start
        arguments = {**consumer_arguments(kafka), **member_arguments(kafka)}
        self._consumer: Any = connect(kafka, KafkaConsumer, **arguments)
        keep_fetching(self._consumer)
        self._ends, self._identity = track_ends(self._consumer), TopicIdentity(self._consumer, self._topic)
        self._as_batch = joined if read_in_blocks(self._consumer) else record_batch
        self._offsets = Offsets(kafka)
        self._listener: Rebalance | None = None
        self._queued_calls: deque[tuple[Callable[[Iterable[Partition]], None], set[Partition]]] = deque()
        self._owned: set[Partition] = set()
        self._to_reassign: set[Partition] = set()
        self._member_id = ""
        self._partitions = 0
        self._closing = self._joined = False

    def subscribe(self, listener: Rebalance) -> None:
        """Join the group. Raises Incompatible when the topic does not exist, or this user may not see it."""
        with named(f"looking for topic {self._topic}"):
            self._partitions = len(self._consumer.partitions_for_topic(self._topic))
        if not self._partitions:
            self.close()
            raise Incompatible(f"source.topic {self._topic!r} does not exist, or this user may not describe it")
        self._listener = listener
        self._consumer.subscribe([self._topic], listener=_Listener(self))

    def poll(self, timeout_seconds: float) -> list[RecordBatch]:
        try:
            found = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds))
        except OffsetOutOfRangeError as error:
            self._reassign(self._overtaken(error))
            found = {}
        except KafkaError as error:
            raise translate(within(error), f"reading {self._topic}") from error
        self._identity.refuse_change()
        if self._member_id_changed():
            self._reassign(self._owned)
            found = {}
        elif self._to_reassign and self._consumer.group_metadata().generation_id >= 0:
            found = {name: records for name, records in found.items() if name not in self._to_reassign}
            self._reassign(self._to_reassign)
        resume_forgotten_join(self._consumer)
        self._make_queued_calls()
        self._report_join()
        return [self._batch(name, records) for name, records in found.items()]

    def _batch(self, name: TopicPartition, records: list[Any]) -> RecordBatch:
        # The client's position, not the last offset + 1: transaction markers take offsets too.
        return self._as_batch(Partition(*name), records, self._position(name))

    def _position(self, name: TopicPartition) -> int:
        # Every assigned partition has a position from the start, so that this never waits for a broker.
        return int(self._consumer.position(name, timeout_ms=0))

    def _make_queued_calls(self) -> None:
        while self._queued_calls:
            call, partitions = self._queued_calls.popleft()
            if partitions:
                call(sorted(partitions))

    def _report_join(self) -> None:
        """Report once, and again after a loss, that this member gets no partition: the client does not report it."""
        if not self._joined and self._consumer.group_metadata().state == MemberState.STABLE:
            self._joined = True
            if not self._owned:
                self._assigned([])

    def _overtaken(self, error: OffsetOutOfRangeError) -> set[Partition]:
        """Return partitions whose records were deleted before they were read. The take-over that follows counts and
        reports the loss. Raises Incompatible where being late is not the cause."""
        (gone,) = error.args
        for name, offset in gone.items():
            first = self.beginning(Partition(*name))
            if first <= offset:
                raise Incompatible(
                    f"{name.topic}-{name.partition} has no offset {offset} yet, and begins at {first}: the topic "
                    "was recreated or truncated. Start with a new kafka.group_id and snapshot.topic"
                )
        return {Partition(*name) for name in gone}

    # Called by the group's listener, on the client's IO thread (see the head of this file).

    def on_assigned(self, names: Iterable[TopicPartition]) -> None:
        assert self._listener is not None
        added = {Partition(*name) for name in names}
        if self._member_id_changed():
            self._reassign(self._owned - added)
        self._member_id = self._consumer.group_metadata().member_id
        self._pause_at_start(added)
        self._owned |= added
        self._queued_calls.append((self._assigned, added))

    def on_revoked(self, names: Iterable[TopicPartition]) -> None:
        assert self._listener is not None
        gone = {Partition(*name) for name in names}
        if self._member_id_changed():
            self.on_lost(names)
            return
        known = gone - self._unqueue(gone)
        self._owned -= gone
        self._to_reassign -= gone
        if known and not self._closing:
            self._listener.revoked(sorted(known))

    def on_lost(self, names: Iterable[TopicPartition]) -> None:
        assert self._listener is not None
        lost = {Partition(*name) for name in names}
        known, self._joined = lost - self._unqueue(lost), False
        self._owned -= lost
        self._to_reassign -= lost
        if not self._closing:
            self._queued_calls.append((self._listener.lost, known))

    def _assigned(self, partitions: Iterable[Partition]) -> None:
        assert self._listener is not None
        grown = [partition for partition in partitions if partition.partition >= self._partitions]
        if grown:
            raise Incompatible(
                f"topic {self._topic} has grown from {self._partitions} partitions: keys now hash to other partitions, "
                "so stored state would no longer fit the streams there. Start with a new snapshot.topic and kafka.group_id"
            )
        self._listener.assigned(partitions)

    def _pause_at_start(self, partitions: Iterable[Partition]) -> None:
        """Pause partitions, at a position chosen here: the loop seeks to the right one before it resumes them."""
        names = [TopicPartition(*partition) for partition in partitions]
        self._consumer.pause(*names)
        for name in names:
            self._seek(name, 0)

    def _unqueue(self, partitions: set[Partition]) -> set[Partition]:
        """Remove these partitions from the queued assignments. Returns those the loop has not been told of."""
        queued: set[Partition] = set()
        for call, waiting in self._queued_calls:
            if call == self._assigned:
                queued |= waiting & partitions
                waiting -= partitions
        return queued

    def _member_id_changed(self) -> bool:
        now = self._consumer.group_metadata().member_id
        return bool(self._owned) and now not in ("", self._member_id)

    def _reassign(self, partitions: set[Partition]) -> None:
        """Report these partitions lost, and assign them again. What is held of them no longer counts: another member
        may have had them, their records are gone, or the loop has dropped its state."""
        assert self._listener is not None
        restarted = set(partitions)
        self._to_reassign -= restarted
        known = restarted - self._unqueue(restarted)
        self._queued_calls.append((self._listener.lost, known))
        self._pause_at_start(restarted)
        self._queued_calls.append((self._assigned, restarted))
        self._member_id = self._consumer.group_metadata().member_id

    def start_over(self) -> None:
        """Have a later poll report all our partitions lost, and assign them again. Where the group has put this member
        out, the client itself reports them lost when it rejoins."""
        self._to_reassign, self._joined = set(self._owned), False

    def membership(self) -> Any:
        """Return our place in the group, for committing our offsets: kafka-python's ConsumerGroupMetadata.

        Raises Evicted when the group has put this member out since the last poll. The next poll joins it again.
        """
        now = self._consumer.group_metadata()
        if now.generation_id < 0 or now.member_id != self._member_id:
            raise Evicted(f"group {self._kafka.group_id} removed this member: no heartbeat from it for too long")
        return now

    # Asked by a take-over, from any thread.

    def committed(self, partition: Partition) -> int | None:
        return self._offsets.committed(partition)

    def start_offset(self, partition: Partition) -> int:
        return self._offsets.beginning(partition) if self._start == "earliest" else self._offsets.end(partition)

    def beginning(self, partition: Partition) -> int:
        return self._offsets.beginning(partition)

    def topic_id(self, partition: Partition) -> str:
        return self._identity.now()

    # Asked by the loop.

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self._assignment():
            self._seek(TopicPartition(*partition), int(offset))

    def _seek(self, name: TopicPartition, offset: int) -> None:
        self._consumer.seek(name, offset)
        self._ends.forget(name)

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._consumer.pause(*self._assigned_names(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume(*self._assigned_names(partitions))

    def _assigned_names(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        assigned = self._assignment()
        return [TopicPartition(*partition) for partition in partitions if partition in assigned]

    def _assignment(self) -> set[Partition]:
        return {Partition(*name) for name in self._consumer.assignment()}

    def lag(self) -> Mapping[Partition, int]:
        ends = self._ends.pop_reported()
        return {Partition(*name): max(0, end - self._position(name)) for name, end in ends.items()}

    def owed(self) -> Collection[Partition]:
        return {Partition(*name) for name in self._ends.owed()}

    def exhausted(self) -> bool:
        return False

    def close(self) -> None:
        """Leave the group. The listener is not called any more: the caller has delivered what was pending."""
        self._closing = True
        self._offsets.close()
        with named("leaving the group"):
            self._consumer.close(autocommit=False, timeout_ms=milliseconds(CLOSE_SECONDS))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._source.on_assigned(assigned)

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._source.on_revoked(revoked)

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._source.on_lost(lost)
