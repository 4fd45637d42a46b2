"""`anomaly-daemon replay` as a process on Apache Kafka: alerts that `run` published are recomputed from the topics."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Deployment, readings, wait_for

from anomaly_daemon.errors import ExitCode
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

LINES = readings(["press", "oven"], 200, [60, 160])


class Replays(Deployment):
    """A deployment whose alerts can be recomputed."""

    def replay(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "anomaly_daemon.cli", "replay"]
        words += [f"--set={override}" for override in self.overrides]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*words, *arguments], env=environment, input=stdin, capture_output=True, text=True, timeout=90, check=False
        )

    def verdict(self, *arguments: str, stdin: str = "") -> dict[str, Any]:
        done = self.replay(*arguments, "--json", stdin=stdin)
        assert done.stdout, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == {"identical": 0, "different": 1, "not comparable": 2}[told["verdict"]]
        return told


@pytest.fixture(scope="module")
def plant(kafka_broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Replays:
    """A deployment whose records were read by two runs of the daemon: the first part, and the rest after a restart."""
    topic = kafka_broker.topic("readings")
    one = Replays(kafka_broker.bootstrap, topic, tmp_path_factory.mktemp("plant"))
    upto = 0
    for lines in (LINES[:130], LINES[130:]):
        one.produce(lines)
        upto += len(lines)
        daemon = one.start()
        try:
            wait_for("the records to be committed", functools.partial(_reached, one, upto))
            assert daemon.end(signal.SIGTERM) == 0
        finally:
            if daemon.process.poll() is None:
                daemon.end(signal.SIGKILL)
    return one


def _reached(plant: Replays, offset: int) -> bool:
    return plant.committed() == offset


def opened(plant: Replays) -> dict[str, Any]:
    shown = plant.command("alerts", "--from-beginning", "--no-follow", "--json", "--event", "open", "--stream", "oven")
    alert: dict[str, Any] = json.loads(shown.splitlines()[-1])
    return alert


def test_every_alert_is_identical(plant: Replays) -> None:
    alerts = {alert_id for alert_id, _event in plant.told()}
    assert len(alerts) >= 4
    for alert_id in sorted(alerts):
        told = plant.verdict(alert_id)
        assert told["verdict"] == "identical", told["differences"]
        assert told["notes"] == []
        assert told["evidence"] is not None


def test_an_alert_through_a_pipe_is_enough(plant: Replays) -> None:
    told = plant.verdict("-", stdin=json.dumps(opened(plant)))
    assert (told["verdict"], told["alert_id"]) == ("identical", opened(plant)["alert_id"])
    assert told["messages"][0]["message"] == "open"


def test_a_copy_of_the_records_with_one_value_changed_is_different(kafka_broker: Any, plant: Replays) -> None:
    at = opened(plant)["provenance"]["first_offset"]
    lines = list(LINES)
    lines[at] = json.dumps(json.loads(lines[at]) | {"temperature": 61.0}).encode()
    copy = Replays(kafka_broker.bootstrap, kafka_broker.topic("copy"), plant.folder)
    copy.produce(lines)
    told = plant.verdict(opened(plant)["alert_id"], "--records", copy.topic)
    assert told["verdict"] == "different"
    fields = {one["field"]: one["now"] for one in told["differences"] if one["message"] == "open"}
    assert fields["features.temperature.actual"] == 61.0
    assert "score" in fields


def test_records_that_retention_removed_are_named(kafka_broker: Any, plant: Replays) -> None:
    from kafka import KafkaAdminClient, TopicPartition

    at = opened(plant)["provenance"]["first_offset"]
    copy = Replays(kafka_broker.bootstrap, kafka_broker.topic("short"), plant.folder)
    copy.produce(LINES)
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    admin.delete_records({TopicPartition(copy.topic, 0): at + 1})
    admin.close()
    done = plant.replay(opened(plant)["alert_id"], "--records", copy.topic)
    assert done.returncode == ExitCode.NOT_COMPARABLE
    assert f"records {at} to {at} of {plant.topic}-0 are gone" in done.stderr


def test_the_picture_shows_what_came_before(plant: Replays, tmp_path: Path) -> None:
    picture = tmp_path / "alert.png"
    done = plant.replay(opened(plant)["alert_id"], "--picture", str(picture))
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_alert_that_is_not_on_the_topic_is_no_input(plant: Replays) -> None:
    assert plant.replay("0000").returncode == ExitCode.NO_INPUT
