"""Finds out the outcome of a commit whose end this process did not see.

The outcome is never guessed, and the commit is never sent again before it is known.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import TransactionalIdNotFoundError

from anomaly_daemon.errors import Fenced
from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments, milliseconds
from anomaly_daemon.transport.kafka.failures import FENCED, named, translate
from anomaly_daemon.transport.ports import Commit

SETTLE_SECONDS = 30.0
PAUSE_SECONDS = 0.05
ABORTED = ("PrepareEpochFence", "PrepareAbort", "CompleteAbort")

Producer = tuple[int, int]
"""A producer id and its epoch. The coordinator gives every new instance of a transactional id another pair."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A commit whose transaction neither ended nor could be aborted."""

    commit: Commit
    token: str
    """The metadata in the offsets that the commit would have committed."""
    cause: BaseException
    begun: Producer
    """Id and epoch of the producer when it began the transaction."""
    last: Producer
    """Id and epoch of the producer when it could no longer be used: after some errors the client moves on to its next
    epoch unasked."""


def producer_of(producer: Any) -> Producer:
    """Return the id and epoch that kafka-python's producer has at the coordinator now. The client has no public access
    to them."""
    now = producer._transaction_manager.producer_id_and_epoch
    return int(now.producer_id), int(now.epoch)


def settled_producer_of(producer: Any) -> Producer:
    """Return `producer_of`, once the producer is no longer moving on to another epoch."""
    while producer._transaction_manager.is_bumping_epoch():
        time.sleep(PAUSE_SECONDS)
    return producer_of(producer)


def replaced(begun: Producer, last: Producer, now: Producer, state: str) -> bool:
    """Return whether another instance uses our transactional id. `now` and `state` are the producer (id and epoch)
    and the state that the coordinator has for it.

    When the coordinator aborts a transaction for its age, our producer receives the same error: that it is fenced. But
    the coordinator does so under the epoch after `begun`, which then stays. Another instance goes one epoch further, to
    a state of its own.
    """
    timed_out = now == (begun[0], begun[1] + 1) and state in ABORTED
    return now != last and not timed_out


def refuse_if_replaced(kafka: KafkaSettings, transactional_id: str, doubt: Doubt) -> None:
    """Raise Fenced when another instance uses our transactional id, because a new producer of ours would fence it in
    turn."""
    if not isinstance(doubt.cause, FENCED):
        return
    with closing(connect(kafka, KafkaAdminClient)) as admin, named("finding out who uses our transactional id"):
        try:
            found = admin.describe_transactions([transactional_id])[transactional_id]
        except TransactionalIdNotFoundError:  # forgotten for its age: no instance uses it
            return
    if replaced(doubt.begun, doubt.last, (found.producer_id, found.producer_epoch), found.state.value):
        raise translate(doubt.cause, "committing") from doubt.cause


def took_place(kafka: KafkaSettings, doubt: Doubt) -> bool:
    """Return whether the committed offsets are those of this commit. Its transaction must have ended by now. Raises
    Fenced for a commit without positions, whose outcome cannot be found out."""
    if not doubt.commit.positions:
        raise Fenced(
            "the outcome of a commit without positions is not known: restart, to continue from what is committed"
        )
    reader: Any = connect(kafka, KafkaConsumer, group_id=kafka.group_id, **consumer_arguments(kafka))
    try:
        with named("finding out whether a commit took place"):
            found = [
                reader.committed(TopicPartition(*name), metadata=True, timeout_ms=milliseconds(SETTLE_SECONDS))
                for name in doubt.commit.positions
            ]
    finally:
        reader.close(autocommit=False)
    return all(offset is not None and offset.metadata == doubt.token for offset in found)
