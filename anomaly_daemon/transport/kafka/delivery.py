"""One commit, one Kafka transaction (law L6)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from uuid import uuid4

from kafka import KafkaProducer, TopicPartition
from kafka.errors import CommitFailedError, KafkaError
from kafka.structs import OffsetAndMetadata

from anomaly_daemon.errors import Evicted
from anomaly_daemon.settings import KafkaSettings, SinkSettings, SnapshotSettings
from anomaly_daemon.transport.kafka.connection import connect, milliseconds, transactional_id
from anomaly_daemon.transport.kafka.doubt import (
    SETTLE_SECONDS,
    Doubt,
    producer_of,
    refuse_if_replaced,
    settled_producer_of,
    took_place,
)
from anomaly_daemon.transport.kafka.failures import NOT_PERMITTED, named, translate, unwrapped
from anomaly_daemon.transport.kafka.watchdog import Expire, end_process, watch
from anomaly_daemon.transport.ports import Commit, Outgoing
from anomaly_daemon.transport.steps import carry_on

LARGEST_RECORD = 100_000_000
"""Bytes, what a broker reads as one request. The topic's max.message.bytes decides, which an operator can raise."""
REFUSED_SECONDS = 5.0
"""How long a commit is made again because the group refuses our generation. Longer than the client's heartbeats are
apart: either the new generation reaches us in that time, or the news that we are out."""
PAUSE_SECONDS = 0.1
CLOSE_SECONDS = 5.0


class KafkaDelivery:
    """`ports.Delivery`: alerts, dead letters, snapshots and input offsets, all visible at once or not at all."""

    def __init__(
        self,
        kafka: KafkaSettings,
        sink: SinkSettings,
        snapshot: SnapshotSettings,
        membership: Callable[[], Any],
        *,
        deadline_seconds: float,
        before: Callable[[str], None] = carry_on,
        expire: Expire = end_process,
    ) -> None:
        """Connects, and aborts what an earlier instance of the same transactional id left open.

        `membership` is `KafkaSource.membership`. `before` is called with each of `steps.STEPS`. A delivery that has
        not ended after `deadline_seconds` calls `expire`, which by default ends the process with code 75.
        """
        self._kafka, self._sink, self._snapshot, self._membership = kafka, sink, snapshot, membership
        self._deadline, self._before, self._expire = deadline_seconds, before, expire
        self._identity = uuid4().hex
        self._id = transactional_id(kafka, self._identity[:12])
        self._commits = 0
        self._doubt: Doubt | None = None
        self._producer: Any = self._open()

    def _open(self) -> Any:
        producer: Any = connect(
            self._kafka,
            KafkaProducer,
            transactional_id=self._id,
            transaction_timeout_ms=milliseconds(self._kafka.transaction_timeout_seconds),
            max_request_size=LARGEST_RECORD,
            allow_auto_create_topics=False,
            # Waiting for a predecessor's transaction to end may take its whole timeout.
            max_block_ms=milliseconds(self._kafka.transaction_timeout_seconds + SETTLE_SECONDS),
            metrics_enabled=False,
        )
        _mend(producer)
        try:
            with named(f"opening transactions as {self._id!r}"):
                producer.init_transactions()
        except BaseException:
            drop(producer)
            raise
        return producer

    def deliver(self, commit: Commit) -> None:
        """Raises Evicted, Fenced, NotPermitted, Incompatible or Unavailable, with nothing of `commit` visible; after
        Unavailable alone that may not be known yet, and delivering the same commit again finds out first.

        A commit that failed only because the group's generation moved on under it (we are still the same member), or
        whose producer had to be replaced, is made again: nothing of the first attempt can be seen by then.
        """
        with watch("a commit", self._deadline, self._expire):
            refused_until = math.inf
            while not self._settled(commit):
                try:
                    if self._attempt(commit):
                        return
                    refused_until = math.inf  # what failed was not for the group to decide
                except CommitFailedError as error:
                    refused_until = min(refused_until, time.monotonic() + REFUSED_SECONDS)
                    if time.monotonic() > refused_until:
                        raise Evicted(f"group {self._kafka.group_id} refuses our commits") from error
                time.sleep(PAUSE_SECONDS)

    def _attempt(self, commit: Commit) -> bool:
        """True when `commit` is visible, False when it is in doubt, and may be tried again. Raises CommitFailedError when
        the group refuses it, and nothing of it is visible."""
        self._commits += 1
        token, sent, begun = f"{self._identity}:{self._commits}", list[Sent](), producer_of(self._producer)
        try:
            self._transact(commit, token, sent)
            return True
        except CommitFailedError:  # the generation in our offsets is not the group's
            self._abort()
            self._membership()
            raise
        except Evicted:  # by `membership`, before the offsets were sent
            self._abort()
            raise
        except (KafkaError, ValueError) as error:
            cause = cause_of(error, sent, self._producer)
            if self._abort():
                raise translate(cause, what_failed(sent)) from error
            self._doubt = Doubt(commit, token, cause, begun, settled_producer_of(self._producer))
            return False

    def _transact(self, commit: Commit, token: str, sent: list[Sent]) -> None:
        """The order, and why:

        1. begin: the broker is told with the first record.
        2. alerts, 3. dead letters, 4. snapshots: sends only queue; they travel while the next are queued. To readers
           of committed records nothing exists before step 6, so their order among themselves does not matter.
        5. positions: after everything else, because this is the fence: the group checks here that we are still its
           member. A zombie's records may be in the log by then, but the abort that follows hides them for ever.
        6. commit, once every send of 2 to 4 was acknowledged: kafka-python waits for ever for what was sent to a
           partition after a batch that failed. From the coordinator's yes on, everything is visible, and the process
           may die (`reply`).
        """
        self._before("begin")
        self._producer.begin_transaction()
        self._before("alerts")
        send(self._producer, self._sink.alerts_topic, commit.alerts, sent)
        self._before("dead_letters")
        send(self._producer, self._sink.dead_letter_topic, commit.dead_letters, sent)
        self._before("snapshots")
        for partition, snapshots in commit.snapshots.items():
            send(self._producer, self._snapshot.topic, snapshots, sent, partition.partition)
        self._before("positions")
        self._send_positions(commit, token)
        acknowledged(sent, self._deadline)
        self._before("commit")
        self._producer.commit_transaction()
        self._before("reply")

    def _send_positions(self, commit: Commit, token: str) -> None:
        if not commit.positions:
            return
        # The token makes this very commit recognisable when its outcome is in doubt.
        offsets = {TopicPartition(*name): OffsetAndMetadata(at, token, -1) for name, at in commit.positions.items()}
        self._producer.send_offsets_to_transaction(offsets, self._membership())

    def _abort(self) -> bool:
        """False when the producer is beyond use: then whether a commit took place is not known."""
        try:
            self._producer.abort_transaction()
        except KafkaError:
            return False
        return True

    def _settled(self, commit: Commit) -> bool:
        """Ends the doubt about an earlier attempt, if there is one; True when that was `commit`, and took place.

        A new producer of the same transactional id waits for an end that has begun and aborts what has not; after that
        the committed offsets tell by their token. Until all of it is known the doubt stays, whatever is raised. What was
        not permitted is not tried again.
        """
        if self._doubt is None:
            return False
        refuse_if_replaced(self._kafka, self._id, self._doubt)
        drop(self._producer)
        self._producer = self._open()
        visible, doubt = took_place(self._kafka, self._doubt), self._doubt
        self._doubt = None
        if not visible and isinstance(doubt.cause, NOT_PERMITTED):
            of = ", ".join(sorted({repr(partition.topic) for partition in doubt.commit.positions}))
            raise translate(doubt.cause, f"committing offsets of topic {of}")
        return visible and doubt.commit is commit

    def close(self) -> None:
        """An open transaction is aborted by the next instance, or by its timeout."""
        drop(self._producer, CLOSE_SECONDS)


class Sent(NamedTuple):
    """A record on its way."""

    topic: str
    bytes: int
    future: Any


def send(
    producer: Any, topic: str, outgoing: Iterable[Outgoing], sent: list[Sent], partition: int | None = None
) -> None:
    """Queue records, and note them in `sent`."""
    for record in outgoing:
        # Kafka has no record without key and value; an empty value says the same.
        value = b"" if record.key is None and record.value is None else record.value
        future = producer.send(topic, value, record.key, headers=list(record.headers), partition=partition)
        sent.append(Sent(topic, len(value or b""), future))


def acknowledged(sent: Iterable[Sent], seconds: float) -> None:
    """Wait for each to be in the broker's log. Raises the KafkaError of the first that cannot be."""
    for one in sent:
        one.future.get(timeout=seconds)


def what_failed(sent: Iterable[Sent]) -> str:
    """What of the commit failed. A batch is refused as a whole: where a record is too large, it is the largest."""
    failed = [one for one in sent if one.future.exception is not None]
    if not failed:
        return "committing"
    largest = max((one for one in failed if one.topic == failed[0].topic), key=lambda one: one.bytes)
    return f"writing to topic {largest.topic!r} ({largest.bytes} bytes)"


def cause_of(error: BaseException, sent: Iterable[Sent], producer: Any) -> BaseException:
    """The first send that failed is the cause; later calls only say that something did.

    Where no send failed, the client keeps the reason in `_transaction_manager.last_error` and gives it to no one.
    """
    for one in sent:
        if one.future.exception is not None:
            return one.future.exception  # type: ignore[no-any-return]
    manager = getattr(producer, "_transaction_manager", None)
    return unwrapped(getattr(manager, "last_error", None) or error)


def _mend(producer: Any) -> None:
    """Keep kafka-python (3.0.12) from losing a request when the coordinator cannot be reached, and from splitting.

    `Sender._maybe_send_pending_request` puts a request back into its queue when `await_ready` returns False, but drops
    it when `await_ready` raises, which it does for a refused connection: after a broker's restart the transaction
    would wait for ever for an answer to what was never sent.

    A batch that is too large for its topic is split into smaller ones, but stays among those that are awaited: the
    transaction neither commits nor fails. A batch of several records has 16 kB, so no topic that suits us needs that.
    """
    producer._sender._can_split = lambda batch, error: False
    client = producer._sender._client
    await_ready = client.await_ready

    def returns_false(*arguments: Any, **keywords: Any) -> bool:
        try:
            return bool(await_ready(*arguments, **keywords))
        except KafkaError:
            return False

    client.await_ready = returns_false


def drop(producer: Any, seconds: float = 0.0) -> None:
    """Close it, whatever state it is in."""
    try:
        producer.close(timeout=seconds)
    except KafkaError:  # what could not be flushed belongs to a transaction that ends by itself
        producer._sender.force_close()  # `close` gave up before it came to this, and the thread would live on
