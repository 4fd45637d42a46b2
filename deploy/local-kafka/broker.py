#!/usr/bin/env python3
"""A local Apache Kafka broker without Docker, for tests, benchmarks and first trials.

    python deploy/local-kafka/broker.py --port 9092
    python deploy/local-kafka/broker.py --port 9092 --topic sensors:4 --folder ./kafka-storage
    python deploy/local-kafka/broker.py --port 9092 --nodes 3

Needs Java 17 or newer and Maven. The first start downloads the broker's jars (pom.xml beside this file) into
`$XDG_CACHE_HOME/anomaly-daemon`; later starts need no network. Runs one node in KRaft combined mode, on loopback only,
with the settings that a single node needs (replication factor 1, no rebalance delay). With `--nodes 3` it runs a
cluster, in which every topic survives the loss of one node. Uses only the standard library, so that any program may
import it (with this folder on the path): `Broker(...)` starts, stops and restarts one node on the same ports and
storage, `Cluster(...)` several.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import Cluster
from jars import BrokerError, jars, kafka_version, missing
from node import Broker, Listener, free_ports

__all__ = ["Broker", "BrokerError", "Cluster", "Listener", "free_ports", "jars", "kafka_version", "missing"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9092, help="of the (first) plaintext listener; 0: any free one")
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 3, 4, 5), help="3 to 5: a cluster (default: 1)")
    parser.add_argument("--folder", type=Path, help="keep the storage here (default: a temporary folder, removed)")
    parser.add_argument(
        "--topic", action="append", default=[], metavar="NAME[:PARTITIONS]", help="create it; repeatable"
    )
    parser.add_argument("--fetch-only", action="store_true", help="fetch the jars and end")
    chosen = parser.parse_args(arguments)
    if lack := missing():
        print(f"a local broker needs Java 17 and Maven; {lack}", file=sys.stderr)
        return 69
    if chosen.fetch_only:
        print(jars())
        return 0
    return _serve(chosen)


def _brokers(chosen: argparse.Namespace) -> Broker | Cluster:
    if chosen.nodes == 1:
        return Broker(port=chosen.port, folder=chosen.folder)
    return Cluster(chosen.nodes, port=chosen.port, folder=chosen.folder)


def _serve(chosen: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with _brokers(chosen) as broker:
            for topic in chosen.topic:
                name, _, partitions = topic.partition(":")
                broker.create_topic(name, int(partitions or 1))
            print(f"Apache Kafka {kafka_version()} is ready on {broker.bootstrap} (log: {broker.log})", flush=True)
            signal.pause()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 69
    except KeyboardInterrupt:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
