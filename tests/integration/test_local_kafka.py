"""deploy/local-kafka: a single node, and a cluster that survives the loss of a node."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from daemon_process import wait_for
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
SCRIPT = Path(__file__).parents[2] / "deploy" / "local-kafka" / "broker.py"


def in_sync(bootstrap: str, topic: str) -> list[int]:
    """Return the number of in-sync replicas of each partition."""
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=bootstrap)) as admin:
        (described,) = admin.describe_topics([topic])
        return [len(partition["isr_nodes"]) for partition in described["partitions"]]


def written(bootstrap: str, topic: str, value: bytes) -> list[bytes]:
    """Write one more value to all in-sync replicas, and return every committed value of the topic's only partition."""
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=bootstrap, acks="all")) as producer:
        producer.send(topic, value).get(timeout=30)
    with closing(
        KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=bootstrap, isolation_level="read_committed")
    ) as consumer:
        name = TopicPartition(topic, 0)
        consumer.assign([name])
        consumer.seek_to_beginning(name)
        values: list[bytes] = []
        while value not in values:
            values += [record.value for record in consumer.poll(timeout_ms=200).get(name, ())]
        return values


def test_a_cluster_survives_the_loss_of_a_node_and_takes_it_back(broker_script: Any) -> None:
    with broker_script.Cluster(3) as cluster:
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=cluster.bootstrap)) as admin:
            admin.create_topics([NewTopic("readings", 1, -1)])
        wait_for("three copies", lambda: in_sync(cluster.bootstrap, "readings") == [3])
        node = cluster.nodes[0]
        node.kill()
        assert written(cluster.bootstrap, "readings", b"without it") == [b"without it"]
        node.start()
        wait_for("the third copy to be made up", lambda: in_sync(cluster.bootstrap, "readings") == [3])
        assert written(cluster.bootstrap, "readings", b"with it") == [b"without it", b"with it"]


def test_two_nodes_are_refused_as_a_cluster(broker_script: Any) -> None:
    with pytest.raises(ValueError, match="at least 3 nodes"):
        broker_script.Cluster(2)


def test_the_command_starts_a_cluster_and_ends_with_it(broker_script: Any) -> None:
    command = [sys.executable, str(SCRIPT), "--port", "0", "--nodes", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        said = started.stdout.readline()
        assert said.count("localhost:") == 3
        started.terminate()
        assert started.wait(timeout=60) == 0


def test_a_port_that_is_taken_is_what_it_says(broker_script: Any) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(broker_script.BrokerError, match=f"127.0.0.1:{port}: Address already in use"):
            broker_script.Broker(port=port).start()


def test_its_ports_are_none_of_those_that_the_system_gives_to_whoever_asks(broker_script: Any) -> None:
    """Otherwise a broker that comes back could find its own port in use."""
    ports = broker_script.free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768


def test_where_every_port_is_taken_that_is_said(broker_script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setitem(broker_script.free_ports.__globals__, "PORTS", range(port, port + 1))
        with pytest.raises(broker_script.BrokerError, match=f"no 1 free ports from {port} to {port}"):
            broker_script.free_ports(1)
