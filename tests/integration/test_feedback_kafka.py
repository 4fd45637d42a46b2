"""Labels that people give to alerts, on Apache Kafka: a label moves one stream's threshold once, and a crash does not
undo that."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from daemon_process import Daemon, Deployment, readings, wait_for
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from anomaly_daemon.errors import ExitCode
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

LINES = readings(["press", "oven"], 1200, range(60, 1200, 45))
HALF = len(LINES) // 2


def opened(one: Deployment, stream: str) -> list[dict[str, Any]]:
    told = [json.loads(value) for value in one._committed(f"{one.topic}-alerts")]
    return [alert for alert in told if alert["event"] == "open" and alert["stream"]["key"] == stream]


def say(one: Deployment, **words: str) -> None:
    topic = str(one.settings.retraining.feedback_topic)
    with closing(KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as producer:
        producer.send(topic, json.dumps(words).encode())
        producer.flush()


def metric(daemon: Daemon, name: str) -> float:
    lines = daemon.get("/metrics")[1].splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"anomaly_daemon_{name}")), 0.0)


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_a_false_alarm_makes_its_stream_stricter_for_good(
    deployment: Callable[..., Deployment], kafka_broker: Any, delivery: str
) -> None:
    feedback = f"retraining.feedback_topic={kafka_broker.topic('feedback')}"
    one = deployment(1, feedback, f"sink.delivery={delivery}", "snapshot.seconds=600")
    daemon = one.start()
    one.produce(LINES[:HALF])
    wait_for("half to be committed", lambda: one.committed() == HALF)
    before = opened(one, "press")
    say(one, alert_id="?", label="perhaps")
    say(one, alert_id=before[-1]["alert_id"], label="false", stream="press")
    wait_for("the label, and its bucket", lambda: metric(daemon, "snapshots_total"))
    assert daemon.logged("feedback applied") is not None
    assert daemon.logged("feedback was refused") is not None
    daemon.end(signal.SIGKILL)
    again = one.start()
    one.produce(LINES[HALF:])
    wait_for("all to be committed", lambda: one.committed() == len(LINES))
    assert metric(again, 'feedback_total{outcome="taken"}') == 0
    assert again.end(signal.SIGTERM) == ExitCode.OK
    after = opened(one, "press")[len(before) :]
    assert after
    for press, oven in zip(after[1:], opened(one, "oven")[-len(after) + 1 :], strict=False):
        assert press["threshold"] == pytest.approx(oven["threshold"] * 10**-0.5, rel=1e-6)


def test_a_topic_that_was_made_anew_is_heard_from_its_beginning(
    deployment: Callable[..., Deployment], kafka_broker: Any
) -> None:
    topic = kafka_broker.topic("feedback")
    one = deployment(1, f"retraining.feedback_topic={topic}", "snapshot.seconds=600")
    for label in ("perhaps", "maybe", "false"):
        say(one, alert_id="x", label=label, stream="press")
    daemon = one.start()
    one.produce(LINES[:HALF])
    wait_for("the label", lambda: metric(daemon, 'feedback_total{outcome="taken"}'))
    assert daemon.end(signal.SIGTERM) == ExitCode.OK
    with closing(KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)) as admin:
        admin.delete_topics([topic])
        wait_for("the topic to go", lambda: topic not in admin.list_topics())
        admin.create_topics([NewTopic(topic, 1, 1)])
        wait_for("the topic to come", lambda: topic in admin.list_topics())
    say(one, alert_id="y", label="false", stream="press")
    again = one.start()
    wait_for("the label", lambda: metric(again, 'feedback_total{outcome="taken"}'))
    assert metric(again, 'feedback_total{outcome="begun_anew"}') == 1
    assert again.logged("the feedback topic was recreated or truncated: reading it from the beginning") is not None
    assert again.end(signal.SIGTERM) == ExitCode.OK


def test_a_feedback_topic_of_several_partitions_is_refused(
    deployment: Callable[..., Deployment], kafka_broker: Any
) -> None:
    daemon = deployment(1, f"retraining.feedback_topic={kafka_broker.topic('feedback', 2)}").start()
    assert daemon.process.wait(60) == ExitCode.CONFIGURATION
