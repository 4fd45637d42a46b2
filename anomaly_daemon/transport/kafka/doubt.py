"""What became of a commit whose end we did not see. Never guessed, never sent again blindly."""

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
"""A producer id and its epoch: the coordinator gives every new instance of a transactional id another pair."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A commit whose transaction neither ended nor could be aborted."""

    commit: Commit
    token: str
    """Stands in the offsets it would have committed."""
    cause: BaseException
    begun: Producer
    """What the transaction was begun as."""
    last: Producer
    """What the producer was when it could go on no longer: after some errors it takes its next epoch by itself."""


def producer_of(producer: Any) -> Producer:
    """What kafka-python's producer is at the coordinator now; it tells no one of it."""
    now = producer._transaction_manager.producer_id_and_epoch
    return int(now.producer_id), int(now.epoch)


def settled_producer_of(producer: Any) -> Producer:
    """`producer_of`, once it takes no new epoch any more."""
    while producer._transaction_manager.is_bumping_epoch():
        time.sleep(PAUSE_SECONDS)
    return producer_of(producer)


def replaced(begun: Producer, last: Producer, now: Producer, state: str) -> bool:
    """Whether another instance has our transactional id, which is `now` in that state at the coordinator.

    Of a transaction that the coordinator ended for its age the producer hears the same: that it is fenced. But that is
    done under our next epoch, and stays there; another instance goes one further, to a state of its own.
    """
    timed_out = now == (begun[0], begun[1] + 1) and state in ABORTED
    return now != last and not timed_out


def refuse_if_replaced(kafka: KafkaSettings, transactional_id: str, doubt: Doubt) -> None:
    """Raises Fenced when another instance has our transactional id: a new producer of ours would fence it in turn."""
    if not isinstance(doubt.cause, FENCED):
        return
    with closing(connect(kafka, KafkaAdminClient)) as admin, named("finding out who has our transactional id"):
        try:
            found = admin.describe_transactions([transactional_id])[transactional_id]
        except TransactionalIdNotFoundError:  # forgotten for its age: nobody has it
            return
    if replaced(doubt.begun, doubt.last, (found.producer_id, found.producer_epoch), found.state.value):
        raise translate(doubt.cause, "committing") from doubt.cause


def took_place(kafka: KafkaSettings, doubt: Doubt) -> bool:
    """Whether the offsets that are committed are those of this commit. Its transaction must have ended by now."""
    if not doubt.commit.positions:
        raise Fenced("the outcome of a commit without positions is not known: start again from what is committed")
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
