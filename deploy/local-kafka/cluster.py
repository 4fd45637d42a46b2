"""A cluster of Apache Kafka nodes on loopback. Every topic is on three of them and survives the loss of one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from node import Broker

REPLICAS = 3
PROPERTIES = {
    "default.replication.factor": str(REPLICAS),
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": str(REPLICAS),
    "transaction.state.log.replication.factor": str(REPLICAS),
    "transaction.state.log.min.isr": "2",
    "broker.session.timeout.ms": "4000",  # a killed node is noticed sooner than by default (9 s)
    "broker.heartbeat.interval.ms": "500",
}
HEAP_MEGABYTES = 320


class Cluster:
    """A cluster as a context manager. `nodes` (at least three) are Brokers, each of which can be killed and started
    separately. `bootstrap` names them all."""

    def __init__(
        self,
        nodes: int = REPLICAS,
        *,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """`port` is that of the first node. Node n keeps its storage in `folder`/n."""
        if nodes < REPLICAS:
            raise ValueError(f"a cluster has at least {REPLICAS} nodes: every topic is on {REPLICAS} of them")
        self.keeps_storage = folder is not None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="local-kafka-"))
        self.nodes = [
            Broker(
                port=port if number == 1 else 0,
                properties={**PROPERTIES, **(properties or {})},
                folder=self.folder / str(number),
                number=number,
                heap_megabytes=HEAP_MEGABYTES,
            )
            for number in range(1, nodes + 1)
        ]
        for node in self.nodes:
            node.voters = [each.voter for each in self.nodes]

    @property
    def bootstrap(self) -> str:
        return ",".join(node.bootstrap for node in self.nodes)

    @property
    def log(self) -> Path:
        return self.nodes[0].log

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self.nodes[0].create_topic(name, partitions)

    def start(self) -> Self:
        """Start all nodes, and return when each of them is ready."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready()
        return self

    def close(self) -> None:
        """Stop all nodes, and remove the storage unless a folder was given."""
        if self.keeps_storage:
            for node in self.nodes:  # all at once: the last node alone would find no other to ask for a clean stop
                node.terminate()
        with ExitStack() as stack:
            if not self.keeps_storage:
                stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for node in self.nodes:
                stack.callback(node.stop if self.keeps_storage else node.kill)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
