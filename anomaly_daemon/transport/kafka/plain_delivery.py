"""Makes commits visible without transactions: everything at least once (`sink.delivery: at_least_once`)."""

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
from anomaly_daemon.transport.ports import Commit, Outgoing, SentAhead
from anomaly_daemon.transport.steps import carry_on

GIVEN_UP_SECONDS = 86_400.0
"""Time after which the producer gives up a record. It must not do so while the watchdog lets a commit wait, because a
later record of the same stream might then arrive without it. An alert that was sent ahead has waited for its commit
before."""


class PlainDelivery:
    """`ports.Delivery` in parts, for brokers and users that want no transactions."""

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
        """Connect. The arguments are those of `KafkaDelivery`."""
        self._kafka, self._sink, self._snapshot, self._membership = kafka, sink, snapshot, membership
        self._deadline, self._before, self._expire = deadline_seconds, before, expire
        self._offsets = GroupOffsets(kafka)
        self._confirmed: Commit | None = None
        self._producer: Any = connect(
            kafka,
            KafkaProducer,
            max_request_size=LARGEST_RECORD,
            delivery_timeout_ms=milliseconds(GIVEN_UP_SECONDS),
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def send_ahead(self, alerts: Sequence[Outgoing]) -> Sequence[SentAhead]:
        """Send alerts ahead of their commit, and return those that were queued. The producer's thread sends them.
        Whether they arrive is checked by the commit, which may wait."""
        sent: list[SentAhead] = []
        with suppress(DaemonError):
            self._membership()
            sent.extend(map(self._ahead, map(SentAhead, alerts)))
        return sent

    def _ahead(self, one: SentAhead) -> SentAhead:
        def arrived(_: Any) -> None:
            one.visible = time.time()

        (one.way,) = self._send(self._sink.alerts_topic, [one.record])
        one.way.future.add_callback(arrived)
        return one

    def deliver(self, commit: Commit) -> None:
        """Make the parts of `commit` visible, in an order that matters:

        1. alerts and dead letters, waiting until each is acknowledged, also those that were sent ahead. After a crash
           from here on the records are read again, and the same alerts are sent again under the same ids. None is lost.
        2. positions: the fence. The group checks that this process is still its member. A zombie gets no further, so the
           state it has stored is never newer than what its successor has read.
        3. snapshots, in their order, acknowledged: stored state is never ahead of the committed position. A crash within
           this step leaves buckets of two commits; each of them records its own position (`daemon.takeover`).

        A second attempt at the same commit starts after step 1 if that was completed.
        """
        with watch("a commit", self._deadline, self._expire):
            self._before("begin")
            self._membership()  # a member that is already known to be put out sends no alerts
            if self._confirmed is not commit:
                self._before("alerts")
                sent = [self._resent_if_failed(one) for one in commit.ahead]
                sent += self._send(self._sink.alerts_topic, commit.alerts)
                self._before("dead_letters")
                sent += self._send(self._sink.dead_letter_topic, commit.dead_letters)
                self._acknowledged(sent)
                self._note_visible(commit)
            self._before("positions")
            self._commit_positions(commit)
            self._before("snapshots")
            for partition, outgoing in commit.snapshots.items():
                self._acknowledged(self._send(self._snapshot.topic, outgoing, partition.partition))
            self._before("commit")
            self._confirmed = None
            self._before("reply")

    def _note_visible(self, commit: Commit) -> None:
        self._confirmed = commit
        for one in commit.ahead:
            if math.isnan(one.visible):  # the producer's thread is about to set it
                one.visible = time.time()

    def _resent_if_failed(self, one: SentAhead) -> Sent:
        """Return the send of an alert that went ahead of its commit. Where it failed, the alert is sent once more."""
        way: Sent = one.way if one.way.future.exception is None else self._ahead(one).way
        return way

    def _commit_positions(self, commit: Commit) -> None:
        refused_until = time.monotonic() + REFUSED_SECONDS
        while commit.positions and (refusal := self._offsets.commit(commit.positions, self._membership())):
            if time.monotonic() > refused_until:
                raise self._refused(refusal)
            time.sleep(PAUSE_SECONDS)

    def _refused(self, refusal: type[KafkaError]) -> DaemonError:
        """Return the error for a commit that the group keeps refusing. Unavailable where the reason is a rebalance: the
        group tells only members of its newest generation of it, so there is nothing to discard. Otherwise Evicted."""
        if refusal is RebalanceInProgressError:
            return Unavailable(f"group {self._kafka.group_id} takes no commits during a rebalance")
        return Evicted(f"group {self._kafka.group_id} refuses the commits of this member")

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
        """Close the clients. Records that were not acknowledged are sent again by the next owner of their partition."""
        self._offsets.close()
        drop(self._producer, CLOSE_SECONDS)
