"""The Kafka ports of a member that is to die: the production classes, with a call of `fate` at each place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kafka.protocol.producer import EndTxnRequest

from anomaly_daemon.transport.kafka.delivery import KafkaDelivery
from anomaly_daemon.transport.kafka.snapshots import KafkaSnapshots
from anomaly_daemon.transport.kafka.source import KafkaSource
from anomaly_daemon.transport.ports import Partition, Rebalance, RecordBatch
from chaos.fate import Fate

WIRE_SECONDS = 5.0
"""How long a member that is about to die waits for its request to be sent or answered. After that it dies anyway."""
SENT_BEFORE = ("dead_letters", "snapshots", "positions", "commit")
"""Steps before which records have been sent."""


def mortal(fate: Fate) -> dict[str, type]:
    """Return the three Kafka ports of a member, each by the name of the class that it replaces."""

    class Delivery(KafkaDelivery):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, before=self._reach, **keywords)

        def _reach(self, step: str) -> None:
            if step in SENT_BEFORE and fate.is_near(step):
                self._producer.flush()  # so that what was sent is in the broker's log, and not in this process's buffer
            fate(step)

        def _open(self) -> Any:
            producer = super()._open()
            client = producer._sender._client
            client.send = _watched(client, client.send, fate)
            return producer

    class Snapshots(KafkaSnapshots):
        def _read(self, *arguments: Any) -> dict[bytes, bytes]:
            fate("load")
            found = super()._read(*arguments)
            fate("loaded")
            return found

    class Source(KafkaSource):
        def subscribe(self, listener: Rebalance) -> None:
            self._live_from: dict[Partition, int] = {}
            super().subscribe(Listener(listener, fate))

        def committed(self, partition: Partition) -> int | None:
            offset = super().committed(partition)
            self._live_from[partition] = offset or 0
            return offset

        def poll(self, timeout_seconds: float) -> list[RecordBatch]:
            batches = super().poll(timeout_seconds)
            for batch in batches:
                if len(batch) and batch.offsets[0] < self._live_from.get(batch.partition, 0):
                    fate("replay")
            return batches

    return {"KafkaDelivery": Delivery, "KafkaSnapshots": Snapshots, "KafkaSource": Source}


@dataclass(frozen=True, slots=True)
class Listener:
    """A `ports.Rebalance` with a possible death before and after each assignment and revocation."""

    inner: Rebalance
    fate: Fate

    def assigned(self, partitions: Iterable[Partition]) -> None:
        self.fate("assigned")
        self.inner.assigned(partitions)
        self.fate("taken note of")

    def revoked(self, partitions: Iterable[Partition]) -> None:
        self.fate("revoked")
        self.inner.revoked(partitions)
        self.fate("handed over")

    def lost(self, partitions: Iterable[Partition]) -> None:
        self.inner.lost(partitions)


def _watched(client: Any, send: Callable[..., Any], fate: Fate) -> Callable[..., Any]:
    """Return `client.send`, which runs on the producer's own thread, with a possible death while the end of a
    transaction is on its way."""

    def sending(node: int, request: Any, **keywords: Any) -> Any:
        answer = send(node, request, **keywords)
        if isinstance(request, EndTxnRequest) and request.committed:
            transport = client._manager.get_connection(node).transport
            _reach("end sent", lambda: not transport._writing)
            _reach("end answered", lambda: answer.is_done)
        return answer

    def _reach(place: str, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WIRE_SECONDS
        while fate.is_near(place) and not happened() and time.monotonic() < deadline:
            client.poll(timeout_ms=10)
        fate(place)

    return sending
