"""A topic as a queue: each record goes to one worker of a group, and to another if the first dies before it answers.

Long work never costs a worker its place in the group. Meanwhile a thread polls with every partition paused, and notices
when a rebalance has given the record's partition to another worker. While that thread runs, it alone uses the consumer.

An answer and the offset after its request become visible in one transaction, which the group refuses to a worker that
is no longer its member. So a request has one answer, wherever a worker dies, and however late one resumes.

Any other error of a transaction leaves it open and ends the worker: no caller catches it, and this producer begins no
further transaction. The broker aborts the open one after `kafka.transaction_timeout_seconds`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError

from anomaly_daemon.settings import KafkaSettings
from anomaly_daemon.settings.retraining import RetrainingSettings
from anomaly_daemon.transport.kafka.connection import connect, consumer_arguments, milliseconds
from anomaly_daemon.transport.kafka.delivery import drop
from anomaly_daemon.transport.kafka.failures import named
from anomaly_daemon.transport.kafka.inspect import read_range
from anomaly_daemon.transport.kafka.publish import create_topic
from anomaly_daemon.transport.kafka.watchdog import watch
from anomaly_daemon.transport.ports import Received

PAUSED_POLL_SECONDS = 0.5
"""Seconds that each poll waits while a request is worked on."""
CLOSE_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""Time limit of one transaction. After it the process ends, and another worker gets the request."""
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
LAST_TIMESTAMP = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
"""The last time of a calendar, in epoch milliseconds. A record of the topic may be of a later one."""


class RequestQueue:
    """One worker's membership in the group of workers."""

    def __init__(self, kafka: KafkaSettings, retraining: RetrainingSettings, replication_factor: int = -1) -> None:
        """Connect, create missing topics (see `create_topic`) and join the group."""
        self._kafka, self._requests, self._results = kafka, retraining.requests_topic, retraining.results_topic
        for topic in (retraining.requests_topic, retraining.results_topic):
            create_topic(kafka, topic, 1, replication_factor=replication_factor)
        arguments = consumer_arguments(kafka) | {"auto_offset_reset": "earliest", "max_poll_records": 1}
        self._consumer: Any = connect(
            kafka,
            KafkaConsumer,
            group_id=retraining.group_id,
            session_timeout_ms=milliseconds(kafka.session_timeout_seconds),
            max_poll_interval_ms=milliseconds(kafka.max_poll_interval_seconds),
            **arguments,
        )
        self._producer: Any = connect(
            kafka,
            KafkaProducer,
            transactional_id=f"{retraining.group_id}-{uuid4().hex[:12]}",
            transaction_timeout_ms=milliseconds(kafka.transaction_timeout_seconds),
            metrics_enabled=False,
        )
        with named("opening transactions"):
            self._producer.init_transactions()
        self._paused = _PauseAssigned(self._consumer)
        self._consumer.subscribe([retraining.requests_topic], listener=self._paused)

    def next(self, seconds: float) -> Received | None:
        """Return the next request, or None where none arrives within `seconds`."""
        with named("reading requests"):
            found = self._consumer.poll(timeout_ms=milliseconds(seconds), max_records=1)
        for name, records in found.items():
            record = records[0]
            appended = EPOCH + min(record.timestamp, LAST_TIMESTAMP) * MILLISECOND
            return Received(record.value or b"", appended.isoformat(), (name, record.offset))
        return None

    def leads(self) -> bool:
        """Return whether this is the one worker of the group that checks the triggers: the one that has the first
        partition."""
        return TopicPartition(self._requests, 0) in self._consumer.assignment()

    def ask(self, key: str, value: bytes) -> None:
        """Publish one more request."""
        with named("requesting a retraining"), watch("a request", ANSWER_SECONDS):
            self._producer.begin_transaction()
            self._producer.send(self._requests, key=key.encode(), value=value).get(timeout=CLOSE_SECONDS)
            self._producer.commit_transaction()

    def answered(self, key: str) -> bool:
        """Return whether the results topic still holds an answer to the request with this key. Reads the
        whole topic each time: its records are few (one for each training) and small, and answers remembered in the
        process could be of a topic that was recreated since."""
        batches = read_range(self._kafka, self._results, None, None)
        return any(one == key.encode() for batch in batches for one in batch.keys)

    @contextmanager
    def keep_membership(self, received: Received) -> Iterator[threading.Event]:
        """See `training.requests.Queue`. After the block, raises the error that the polling thread met, if any. A
        rebalance is none."""
        ended, lost, failed = threading.Event(), threading.Event(), list[Exception]()
        thread = threading.Thread(
            target=self._poll_paused, args=(received, ended, lost, failed), name="keep-place", daemon=True
        )
        thread.start()
        try:
            yield lost
        finally:
            ended.set()
            thread.join()
        with named("staying in the consumer group"):
            for error in failed:
                raise error

    def _poll_paused(
        self, received: Received, ended: threading.Event, lost: threading.Event, failed: list[Exception]
    ) -> None:
        name, _ = received.place
        self._paused.on = True
        try:
            self._consumer.pause(*self._consumer.assignment())
            while not ended.is_set():
                for other, records in self._consumer.poll(timeout_ms=milliseconds(PAUSED_POLL_SECONDS)).items():
                    self._consumer.seek(other, records[0].offset)  # assigned before it could be paused
                if name not in self._consumer.assignment():
                    lost.set()
        except Exception as error:  # of another thread: raised again by `keep_membership`
            failed.append(error)
            lost.set()
        finally:
            self._paused.on = False
            self._consumer.resume(*self._consumer.paused())

    def answer(self, received: Received, key: str, value: bytes | None) -> bool:
        """See `training.requests.Queue`."""
        name, offset = received.place
        with named("announcing a result"), watch("an answer", ANSWER_SECONDS):
            # The membership first: if the request goes to another worker after this, the group refuses our commit, and
            # if one had it before, its answer is among the results.
            member, answered = self._consumer.group_metadata(), bool(key) and self.answered(key)
            done = member.generation_id >= 0 and self._commit(
                member, name, offset + 1, key, None if answered else value
            )
            if name in self._consumer.assignment():
                self._consumer.seek(name, offset + done)  # a rebalance meanwhile has set it back to the request
            return done

    def _commit(self, member: Any, name: TopicPartition, next_offset: int, key: str, value: bytes | None) -> bool:
        """Commit the answer and the `next_offset`. Returns False where the group has moved on without this worker; the
        worker that has the request by now will find what was done."""
        try:
            self._write(member, name, next_offset, key, value)
            self._producer.commit_transaction()
        except CommitFailedError:
            self._producer.abort_transaction()
            return False
        return True

    def _write(self, member: Any, name: TopicPartition, next_offset: int, key: str, value: bytes | None) -> None:
        """Write the answer, and the offset last: there the group checks that this worker is still its member."""
        self._producer.begin_transaction()
        if value is not None:
            self._producer.send(self._results, key=key.encode(), value=value).get(timeout=CLOSE_SECONDS)
        self._producer.send_offsets_to_transaction({name: OffsetAndMetadata(next_offset, "", -1)}, member)

    def close(self) -> None:
        """Leave the group. A request that was not answered goes to another worker at once."""
        self._consumer.close(autocommit=False)
        drop(self._producer, CLOSE_SECONDS)


class _PauseAssigned(ConsumerRebalanceListener):  # type: ignore[misc]
    """Pauses the partitions that a rebalance assigns while a request is worked on (`on`)."""

    def __init__(self, consumer: Any) -> None:
        self._consumer, self.on = consumer, False

    def on_partitions_assigned(self, assigned: Any) -> None:
        if self.on:
            self._consumer.pause(*assigned)

    def on_partitions_revoked(self, revoked: Any) -> None: ...
