"""What became of a commit whose end we did not see. Never guessed, never sent again blindly."""

from __future__ import annotations

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
    ours: Producer
    """What the transaction was begun as."""


def producer_of(producer: Any) -> Producer:
    """What kafka-python's producer is at the coordinator now; it tells no one of it."""
    now = producer._transaction_manager.producer_id_and_epoch
    return int(now.producer_id), int(now.epoch)


def timed_out(ours: Producer, now: Producer, state: str) -> bool:
    """Whether the coordinator ended our transaction for its age: it does so under our next epoch, and stays there.

    Another instance of our transactional id goes one epoch further, to a state of its own. The producer hears the same
    of both: that it is fenced.
    """
    return now == (ours[0], ours[1] + 1) and state in ABORTED


def refuse_if_replaced(kafka: KafkaSettings, transactional_id: str, doubt: Doubt) -> None:
    """Raises Fenced when another instance has our transactional id: a new producer of ours would fence it in turn."""
    if not isinstance(doubt.cause, FENCED):
        return
    with closing(connect(kafka, KafkaAdminClient)) as admin, named("finding out who has our transactional id"):
        try:
            found = admin.describe_transactions([transactional_id])[transactional_id]
        except TransactionalIdNotFoundError:  # forgotten for its age: nobody has it
            return
    if not timed_out(doubt.ours, (found.producer_id, found.producer_epoch), found.state.value):
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
