"""A commit without transactions: everything at least once (`sink.delivery: at_least_once`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, RebalanceInProgressError

from anomaly_daemon.errors import DaemonError, Evicted, Unavailable
from anomaly_daemon.settings import KafkaSettings, SinkSettings, SnapshotSettings
from anomaly_daemon.transport.kafka.connection import connect, milliseconds
from anomaly_daemon.transport.kafka.delivery import (
    CLOSE_SECONDS,
    LARGEST_RECORD,
    PAUSE_SECONDS,
    REFUSED_SECONDS,
    Sent,
    acknowledged,
    cause_of,
    drop,
    send,
    what_failed,
)
from anomaly_daemon.transport.kafka.failures import translate
from anomaly_daemon.transport.kafka.group_offsets import GroupOffsets
from anomaly_daemon.transport.kafka.watchdog import Expire, end_process, watch
from anomaly_daemon.transport.ports import Commit, Outgoing, Told
from anomaly_daemon.transport.steps import carry_on

GIVEN_UP_SECONDS = 86_400.0
"""No record is given up while the watchdog lets us wait: a later one of its stream might arrive without it. One that went
ahead has waited for its commit before."""


class PlainDelivery:
    """`ports.Delivery` by parts, for brokers and users that want no transactions."""

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
        """Connects. The arguments are those of `KafkaDelivery`."""
        self._kafka, self._sink, self._snapshot, self._membership = kafka, sink, snapshot, membership
        self._deadline, self._before, self._expire = deadline_seconds, before, expire
        self._offsets = GroupOffsets(kafka)
        self._told: Commit | None = None
        self._producer: Any = connect(
            kafka,
            KafkaProducer,
            max_request_size=LARGEST_RECORD,
            delivery_timeout_ms=milliseconds(GIVEN_UP_SECONDS),
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def tell(self, alerts: Sequence[Outgoing]) -> Sequence[Told]:
        """The producer's thread sends them; whether it can is for the commit to see, which may wait."""
        told: list[Told] = []
        with suppress(DaemonError):
            self._membership()
            told.extend(map(self._ahead, map(Told, alerts)))
        return told

    def _ahead(self, told: Told) -> Told:
        def arrived(_: Any) -> None:
            told.visible = time.time()

        (told.way,) = self._send(self._sink.alerts_topic, [told.record])
        told.way.future.add_callback(arrived)
        return told

    def deliver(self, commit: Commit) -> None:
        """The order, and why:

        1. alerts and dead letters, and waiting for every one to be acknowledged, those that went ahead too: whoever
           dies from here on has the records read again, and the same alerts sent again under the same ids. None is
           ever lost.
        2. positions: the fence. The group checks that we are still its member; a zombie comes no further, so what it
           stored is never newer than what its successor read.
        3. snapshots, in their order, acknowledged: stored state never runs ahead of the committed position. Dying
           within them leaves buckets of two commits; each says itself where it stands (`daemon.takeover`).

        An attempt at the same commit goes on after step 1 if that was seen through.
        """
        with watch("a commit", self._deadline, self._expire):
            self._before("begin")
            self._membership()  # who knows already that the group has put it out tells nothing more
            if self._told is not commit:
                self._before("alerts")
                sent = [self._on_its_way(one) for one in commit.told]
                sent += self._send(self._sink.alerts_topic, commit.alerts)
                self._before("dead_letters")
                sent += self._send(self._sink.dead_letter_topic, commit.dead_letters)
                self._acknowledged(sent)
                self._seen_through(commit)
            self._before("positions")
            self._commit_positions(commit)
            self._before("snapshots")
            for partition, outgoing in commit.snapshots.items():
                self._acknowledged(self._send(self._snapshot.topic, outgoing, partition.partition))
            self._before("commit")
            self._told = None
            self._before("reply")

    def _seen_through(self, commit: Commit) -> None:
        self._told = commit
        for one in commit.told:
            if math.isnan(one.visible):  # the producer's thread is about to say so
                one.visible = time.time()

    def _on_its_way(self, told: Told) -> Sent:
        """Sent once more where that failed."""
        way: Sent = told.way if told.way.future.exception is None else self._ahead(told).way
        return way

    def _commit_positions(self, commit: Commit) -> None:
        refused_until = time.monotonic() + REFUSED_SECONDS
        while commit.positions and (refusal := self._offsets.commit(commit.positions, self._membership())):
            if time.monotonic() > refused_until:
                raise self._refused(refusal)
            time.sleep(PAUSE_SECONDS)

    def _refused(self, refusal: type[KafkaError]) -> DaemonError:
        """Whom the group tells of a rebalance is its member, of its newest generation: there is nothing to drop."""
        if refusal is RebalanceInProgressError:
            return Unavailable(f"group {self._kafka.group_id} takes no commits while it waits for its leader")
        return Evicted(f"group {self._kafka.group_id} refuses our commits")

    def _send(self, topic: str, outgoing: Iterable[Outgoing], partition: int | None = None) -> list[Sent]:
        sent: list[Sent] = []
        try:
            send(self._producer, topic, outgoing, sent, partition)
        except (KafkaError, ValueError) as error:
            raise translate(error, f"writing to topic {topic!r}") from error
        return sent

    def _acknowledged(self, sent: list[Sent]) -> None:
        try:
            acknowledged(sent, self._deadline)
        except KafkaError as error:
            raise translate(cause_of(error, sent, self._producer), what_failed(sent)) from error

    def close(self) -> None:
        """What was not acknowledged is sent again by whoever comes next."""
        self._offsets.close()
        drop(self._producer, CLOSE_SECONDS)
