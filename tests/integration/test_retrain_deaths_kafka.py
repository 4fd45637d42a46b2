"""A worker killed at every step of a retraining, on Apache Kafka: what it leaves behind, and how another worker
continues."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_process import PATIENCE_SECONDS, wait_for
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import MemberToRemove
from mortal_worker import PLACES, begin, nursery

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.registry.registry import Registry
from anomaly_daemon.transport.kafka.inspect import read_range
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

EVENTS, STREAMS, START = 150, 48, 1_700_000_000
DONE = PLACES[PLACES.index("the version is there") :]
"""The steps from which on the new version can be seen in the registry."""


class World:
    """Records, and a registry whose champion has learned next to nothing. The tests only read both."""

    def __init__(self, broker: Any, folder: Path) -> None:
        self.broker, self.folder, self.context = broker, folder, nursery()
        topic, noise = broker.topic("waves"), np.random.default_rng(0)
        with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=broker.bootstrap)) as producer:
            for at in range(EVENTS):
                for stream in range(STREAMS):
                    value = float(np.sin(at / 5 + stream) + 0.1 * noise.standard_normal())
                    producer.send(topic, json.dumps({"time": START + at, "a": value}).encode(), f"s{stream}".encode())
            producer.flush()
        self.words = [
            f"kafka.bootstrap_servers={broker.bootstrap}",
            f"source.topic={topic}",
            f"sink.alerts_topic={broker.topic('alerts')}",
            "name=waves",
            "kafka.transaction_timeout_seconds=1",
            "log.format=json",
            "stream.time=time",
            'stream.numeric=["a"]',
            "training.epochs=2",
            "training.window=32",
            "training.batch_size=32",
            "training.hidden=50",
            "training.learning_rate=0.005",
            "retraining.schedule=0 3 * * SUN",
            "retraining.jitter_seconds=0",
        ]
        first = ["--from-topic", "--output", str(folder / "first"), "--device", "cpu"]
        little = ["training.epochs=1", "training.learning_rate=0.0001", "model.path=pretrained"]
        assert main(["train", *_set([*self.words, *little]), *first]) == 0
        registry = Registry.at(str(folder / "registry"))
        self.first = registry.publish(read_model(folder / "first"))
        registry.move("champion", self.first, at="2020-01-01T00:00:00+00:00", reason="by hand")  # long overdue


class Deployment:
    """A deployment with its own registry, and with topics for requests, results and announcements."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.folder = world, world.folder / name
        self.folder.mkdir()
        shutil.copytree(world.folder / "registry", self.folder / "registry")
        self.registry = Registry.at(str(self.folder / "registry"))
        topics = {key: world.broker.topic(key) for key in ("requests", "results", "announcements")}
        self.words = [
            *world.words,
            f"model.path={self.registry.url}@champion",
            f"retraining.group_id={topics['requests']}",
            f"retraining.checkpoints={self.folder}/checkpoints",
            *(f"retraining.{key}_topic={topic}" for key, topic in topics.items()),
        ]
        self.settings, self.topics = load(None, self.words, {}), topics
        self.lives: list[ForkServerProcess] = []

    def worker(self, death: str | None = None) -> ForkServerProcess:
        log = self.folder / f"worker-{len(self.lives)}.log"
        self.lives.append(begin(self.world.context, _set(self.words), death, log))
        return self.lives[-1]

    def evict(self) -> None:
        """Remove the killed workers from the group, as the broker does after the session timeout."""
        group = self.topics["requests"]
        with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=self.world.broker.bootstrap)) as admin:
            (told,) = admin.describe_groups([group]).values()
            admin.remove_group_members(group, [MemberToRemove(one["member_id"]) for one in told["members"]])

    def records(self, of: str) -> list[tuple[int, str, dict[str, Any]]]:
        """Return offset, key and value of the committed records."""
        batches = read_range(self.settings.kafka, self.topics[of], None, None)
        rows = (zip(one.offsets.tolist(), one.keys, one.values, strict=True) for one in batches)
        return [(at, (key or b"").decode(), json.loads(value or b"")) for each in rows for at, key, value in each]

    def over(self) -> bool:
        """Return whether every request is finished."""
        asked, name = self.records("requests"), TopicPartition(self.topics["requests"], 0)
        servers, group = self.world.broker.bootstrap, self.topics["requests"]
        with closing(KafkaConsumer(proxy_url=PROXY_URL, bootstrap_servers=servers, group_id=group)) as consumer:
            return bool(asked) and consumer.committed(name) == asked[-1][0] + 1

    def phases(self) -> list[str]:
        """Return the phases that the first worker has reported."""
        lines = [json.loads(line) for line in (self.folder / "worker-0.log").read_text().splitlines()]
        assert all(
            line["seconds_left"] is None or line["done"] for line in lines if line["event"] == "retraining progress"
        )
        return list(dict.fromkeys(line["phase"] for line in lines if line["event"] == "retraining progress"))

    def close(self) -> None:
        for one in self.lives:
            if one.exitcode is None:
                os.kill(one.pid or 0, signal.SIGKILL)
            one.join(30)


def _set(words: list[str]) -> list[str]:
    return [f"--set={word}" for word in words]


@pytest.fixture
def world(kafka_broker: Any, tmp_path: Path) -> World:
    return World(kafka_broker, tmp_path)


@pytest.fixture
def deployments(world: World) -> Iterator[Callable[[str], Deployment]]:
    with ExitStack() as closing:

        def deployment(name: str) -> Deployment:
            made = Deployment(world, name)
            closing.callback(made.close)
            return made

        yield deployment


def test_killed_at_every_step_one_after_the_other_the_request_has_one_answer_and_the_registry_one_version(
    world: World, deployments: Callable[[str], Deployment]
) -> None:
    """Each worker gets one step further than the one that it takes the request over from."""
    calm, one = deployments("calm"), deployments("deadly")
    calm.worker()
    wait_for("the answer of a worker that lives", calm.over)
    assert calm.phases() == ["reading", "training", "calibration", "gate"]
    second = calm.registry.resolve("challenger")
    for place in PLACES:
        doomed = one.worker(place)
        doomed.join(PATIENCE_SECONDS)
        assert doomed.exitcode == -signal.SIGKILL, place
        versions = one.registry.digests()
        assert versions == sorted({world.first, second} if place in DONE else {world.first}), place
        assert [one.registry.read(digest).digest for digest in versions] == versions
        assert len(one.records("results")) == (place == PLACES[-1])
        one.evict()
    one.worker()
    wait_for("the answer", one.over)
    ((_, key, answer),) = one.records("results")
    assert (answer["id"], answer["outcome"], answer["challenger"]) == (key, "promoted", second), answer
    assert {key} == {name for _, name, _ in one.records("requests")}
    assert one.registry.digests() == sorted({world.first, second})
    assert [move.digest for move in one.registry.history("champion")] == [world.first, second]
    assert [move.digest for move in one.registry.history("challenger")] == [second]
    told = {name: value["digest"] for _, name, value in one.records("announcements")}
    assert told == {"champion": second, "challenger": second}
    assert list((one.folder / "checkpoints").iterdir()) == []
