"""Makes each commit visible by one Kafka transaction (law L6)."""

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
"""Bytes, the most that a broker reads as one request. The topic's max.message.bytes decides, which an operator can
raise."""
REFUSED_SECONDS = 5.0
"""Seconds for which a commit is retried while the group refuses the generation that it carries. This is longer than the
interval between the client's heartbeats: in that time the client receives either the new generation, or the news that
the group has put this member out."""
PAUSE_SECONDS = 0.1
CLOSE_SECONDS = 5.0


class KafkaDelivery:
    """`ports.Delivery` with transactions: alerts, dead letters, snapshots and input offsets become visible all at once
    or not at all."""

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
        """Connect, and abort the transaction that an earlier instance with the same transactional id left open.

        `membership` is `KafkaSource.membership`. `before` is called with each of `steps.STEPS`, before that step. A
        delivery that has not ended after `deadline_seconds` calls `expire`, which by default ends the process with code
        75.
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
            # Waiting for the end of a predecessor's transaction may take its whole timeout.
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
        """Make `commit` visible.

        Raises Evicted, Fenced, NotPermitted, Incompatible or Unavailable, with nothing of `commit` visible. After
        Unavailable, and only then, this may not be certain yet; delivering the same commit again first finds out.

        A commit is retried where it failed only because the group's generation changed meanwhile (this process being
        still the same member), or where its producer had to be replaced. Nothing of the first attempt can be visible by
        then.
        """
        with watch("a commit", self._deadline, self._expire):
            refused_until = math.inf
            while not self._settled(commit):
                try:
                    if self._attempt(commit):
                        return
                    refused_until = math.inf  # this failure was not a refusal by the group
                except CommitFailedError as error:
                    refused_until = min(refused_until, time.monotonic() + REFUSED_SECONDS)
                    if time.monotonic() > refused_until:
                        raise Evicted(f"group {self._kafka.group_id} refuses the commits of this member") from error
                time.sleep(PAUSE_SECONDS)

    def _attempt(self, commit: Commit) -> bool:
        """Try to make `commit` visible. Returns True when it is visible, and False when its outcome is in doubt, and it
        may be tried again. Raises CommitFailedError when the group refuses the commit, with nothing of it visible."""
        self._commits += 1
        token, sent, begun = f"{self._identity}:{self._commits}", list[Sent](), producer_of(self._producer)
        try:
            self._transact(commit, token, sent)
            return True
        except CommitFailedError:  # the generation in the offsets is not the group's
            self._abort()
            self._membership()
            raise
        except Evicted:  # raised by `membership`, before the offsets were sent
            self._abort()
            raise
        except (KafkaError, ValueError) as error:
            cause = cause_of(error, sent, self._producer)
            if self._abort():
                raise translate(cause, what_failed(sent)) from error
            self._doubt = Doubt(commit, token, cause, begun, settled_producer_of(self._producer))
            return False

    def _transact(self, commit: Commit, token: str, sent: list[Sent]) -> None:
        """Run the steps of the transaction, in an order that matters:

        1. begin: the broker learns of the transaction with the first record.
        2. alerts, 3. dead letters, 4. snapshots: a send only queues a record, which travels while the next are queued.
           Readers of committed records see nothing before step 6, so the order of these three does not matter.
        5. positions: after everything else, because this step is the fence: the group checks here that this process is
           still its member. A zombie's records may be in the log by then, but the abort that follows hides them for ever.
        6. commit, once every send of 2 to 4 was acknowledged: kafka-python waits for ever for records that were sent to a
           partition after a batch that failed. Once the coordinator has accepted, everything is visible, and the process
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
        # The token identifies this commit when its outcome is in doubt.
        offsets = {TopicPartition(*name): OffsetAndMetadata(at, token, -1) for name, at in commit.positions.items()}
        self._producer.send_offsets_to_transaction(offsets, self._membership())

    def _abort(self) -> bool:
        """Abort the open transaction. Returns False when the producer can no longer be used: whether a commit took
        place is then unknown."""
        try:
            self._producer.abort_transaction()
        except KafkaError:
            return False
        return True

    def _settled(self, commit: Commit) -> bool:
        """Resolve the doubt about an earlier attempt, if there is one. Returns True when that attempt was of `commit`,
        and took place.

        A new producer with the same transactional id waits for a transaction that has begun to end, and aborts one that
        has not. After that, the token in the committed offsets shows the outcome. Until all of this has succeeded the
        doubt remains, whatever is raised. A commit that was not permitted is not tried again.
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
        """Close the producer. An open transaction is aborted by the next instance, or by its timeout."""
        drop(self._producer, CLOSE_SECONDS)


class Sent(NamedTuple):
    """A record that was handed to the producer. `future` gets the outcome."""

    topic: str
    bytes: int
    future: Any


def send(
    producer: Any, topic: str, outgoing: Iterable[Outgoing], sent: list[Sent], partition: int | None = None
) -> None:
    """Queue records in the producer, and append them to `sent`."""
    for record in outgoing:
        # A record needs a key or a value; an empty value has the same meaning as none.
        value = b"" if record.key is None and record.value is None else record.value
        future = producer.send(topic, value, record.key, headers=list(record.headers), partition=partition)
        sent.append(Sent(topic, len(value or b""), future))


def acknowledged(sent: Iterable[Sent], seconds: float) -> None:
    """Wait until each record is in the broker's log, at most `seconds` for each. Raises the KafkaError of the first
    that failed."""
    for one in sent:
        one.future.get(timeout=seconds)


def what_failed(sent: Iterable[Sent]) -> str:
    """Return which part of the commit failed, for an error message. A batch is refused as a whole, so the largest
    record of the topic is named: where a record is too large, it is that one."""
    failed = [one for one in sent if one.future.exception is not None]
    if not failed:
        return "committing"
    largest = max((one for one in failed if one.topic == failed[0].topic), key=lambda one: one.bytes)
    return f"writing to topic {largest.topic!r} ({largest.bytes} bytes)"


def cause_of(error: BaseException, sent: Iterable[Sent], producer: Any) -> BaseException:
    """Return the cause of a failed commit. The first send that failed is the cause; later calls only report that
    something failed.

    Where no send failed, the client keeps the reason in the private `_transaction_manager.last_error`.
    """
    for one in sent:
        if one.future.exception is not None:
            return one.future.exception  # type: ignore[no-any-return]
    manager = getattr(producer, "_transaction_manager", None)
    return unwrapped(getattr(manager, "last_error", None) or error)


def _mend(producer: Any) -> None:
    """Keep kafka-python (3.0.12) from losing a request when the coordinator cannot be reached, and from splitting
    batches.

    `Sender._maybe_send_pending_request` puts a request back into its queue when `await_ready` returns False, but drops
    it when `await_ready` raises, which it does for a refused connection. After a broker's restart the transaction would
    then wait for ever for the answer to a request that was never sent.

    The client splits a batch that is too large for its topic, but keeps the original among those that are awaited, so
    that the transaction neither commits nor fails. A batch of several records has 16 kB, so no suitable topic needs a
    split.
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
    """Close the producer, whatever state it is in."""
    try:
        producer.close(timeout=seconds)
    except KafkaError:  # records that could not be flushed belong to a transaction that ends without this client
        producer._sender.force_close()  # `close` raised before it came to this, and the producer's thread would live on
