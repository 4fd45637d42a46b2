"""Brokers that go away and processes that are suspended: `anomaly-daemon run` on Apache Kafka."""

from __future__ import annotations

import json
import math
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon, Deployment, expected, readings, wait_for
from kafka import KafkaAdminClient, KafkaProducer

from anomaly_daemon.bootstrap import build_worker
from anomaly_daemon.errors import Evicted
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.kafka.sockets import PROXY_URL
from anomaly_daemon.transport.ports import Commit, Partition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

LINES = readings(["press", "oven"], 150, [60, 120])
Make = Callable[..., Deployment]


def crashed(broker: Any) -> None:
    broker.kill()
    broker.start()


def restarted(broker: Any) -> None:
    broker.stop()
    broker.start()


def hung(broker: Any) -> None:
    """Pause the broker for longer than the session timeout, so that it removes every member from the group when it
    resumes."""
    broker.pause()
    time.sleep(8.0)
    broker.resume()


def gone_for_a_minute(broker: Any) -> None:
    broker.kill()
    time.sleep(60.0)
    broker.start()


STATIC = ["kafka.group_instance_id=the-one"]


@pytest.mark.parametrize(
    ("outage", "instance"),
    [
        (crashed, []),
        (crashed, STATIC),
        (restarted, []),
        (restarted, STATIC),
        (hung, []),
        (hung, STATIC),
        (gone_for_a_minute, []),
    ],
)
def test_a_broker_that_is_away_is_waited_for(
    broker_script: Any,
    tmp_path: Path,
    daemons: list[Daemon],
    outage: Callable[[Any], None],
    instance: list[str],
) -> None:
    """Records arrive all the time, so that a commit is under way when the broker goes away."""
    with broker_script.Broker() as broker:
        one = Deployment(broker.bootstrap, "readings", tmp_path, *instance)
        one.create_topic()
        daemon = one.start()
        wait_for("it to be ready", daemon.ready)
        one.produce(LINES[:100])
        wait_for("the first part to be committed", lambda: one.committed() == 100)
        one.produce(LINES[100:130])
        outage(broker)
        assert daemon.get("/live")[0] == 200
        one.produce(LINES[130:])
        wait_for("all to be committed", lambda: one.committed() == len(LINES))
        assert one.told() == expected(one, {0: LINES})
        wait_for("it to be ready again", daemon.ready)
        if outage is gone_for_a_minute:  # the daemon is then within a commit that waits
            wait_for("its silence to be over", lambda: "the broker answers again" in daemon.log())
            assert "the broker does not answer" in daemon.log()
            assert gauge(daemon, "broker_silent_seconds") == 0
        assert daemon.end(signal.SIGTERM) == 0


def test_a_broker_that_is_away_is_told_of_while_it_is(
    broker_script: Any, tmp_path: Path, daemons: list[Daemon]
) -> None:
    """No record is sent during the outage, which looks to the client like a topic without new records."""
    with broker_script.Broker() as broker:
        one = Deployment(broker.bootstrap, "readings", tmp_path)
        one.create_topic()
        daemon = one.start()
        wait_for("it to be ready", daemon.ready)
        one.produce(LINES[:100])
        wait_for("it to have read all", lambda: one.committed() == 100 and gauge(daemon, "lag_records") == 0)
        assert gauge(daemon, "broker_silent_seconds") == 0
        broker.kill()
        wait_for("its silence to be noticed", lambda: gauge(daemon, "broker_silent_seconds") > 0)
        assert math.isnan(gauge(daemon, "lag_records"))
        assert math.isnan(gauge(daemon, "lag_seconds"))
        assert [daemon.get(page)[0] for page in ("/live", "/ready")] == [200, 200]
        assert daemon.log().count("the broker does not answer") == 1
        theirs = [line for line in daemon.log().splitlines() if '"logger": "kafka' in line]
        assert len(theirs) < 40, "of each message one"
        broker.start()
        wait_for("it to be heard again", lambda: gauge(daemon, "broker_silent_seconds") == 0)
        wait_for("the lag to be known again", lambda: gauge(daemon, "lag_records") == 0)
        assert daemon.log().count("the broker answers again") == 1
        assert daemon.end(signal.SIGTERM) == 0


def gauge(daemon: Daemon, name: str) -> float:
    (found,) = re.findall(rf"^anomaly_daemon_{name} (\S+)$", daemon.get("/metrics")[1], re.MULTILINE)
    return float(found)


def test_a_process_that_sleeps_through_its_session_ends_with_75_when_it_wakes(deployment: Make) -> None:
    one = deployment(1)
    sleeper = one.start()
    wait_for("it to be ready", sleeper.ready)
    one.produce(LINES[:130])
    sleeper.process.send_signal(signal.SIGSTOP)
    second = one.start()
    one.produce(LINES[130:])
    wait_for("the second to have taken over", lambda: one.committed() == len(LINES))
    sleeper.process.send_signal(signal.SIGCONT)
    assert sleeper.process.wait(timeout=60) == 75
    assert "this process stood still" in sleeper.log()
    assert one.told() == expected(one, {0: LINES})
    assert second.end(signal.SIGTERM) == 0


def test_a_member_put_out_while_it_was_awake_goes_on_as_another(deployment: Make) -> None:
    """This is the effect of an operator's kafka-consumer-groups --delete-members, and of a broker that has lost its
    groups."""
    one = deployment(1)
    daemon = one.start()
    wait_for("it to be ready", daemon.ready)
    one.produce(LINES[:130])
    admin = KafkaAdminClient(proxy_url=PROXY_URL, bootstrap_servers=one.bootstrap)
    (member,) = admin.describe_groups([one.topic])[one.topic]["members"]
    admin.remove_group_members(one.topic, [_leaver(member["member_id"])])
    admin.close()
    one.produce(LINES[130:])
    wait_for("all to be committed", lambda: one.committed() == len(LINES))
    assert one.told() == expected(one, {0: LINES})
    assert daemon.process.poll() is None
    assert json.loads(daemon.get("/ready")[1])["partitions"] == {"running": 1, "restoring": 0}


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_a_member_that_is_refused_and_stays_in_its_group_goes_on(kafka_broker: Any, delivery: str) -> None:
    """The client then reports no partition as lost, and assigns none."""
    topics = {name: kafka_broker.topic(name) for name in ("input", "alerts", "dead")}
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": kafka_broker.bootstrap, "group_id": topics["input"]},
            "source": {"topic": topics["input"]},
            "stream": {"numeric": ["value"]},
            "sink": {"alerts_topic": topics["alerts"], "dead_letter_topic": topics["dead"], "delivery": delivery},
            "snapshot": {"topic": kafka_broker.topic("snapshots", 1, {"cleanup.policy": "compact"})},
        }
    )
    worker, partition = build_worker(settings), Partition(topics["input"], 0)
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    inner = worker._ports.delivery.deliver

    def refused(commit: Commit) -> None:
        worker._ports.delivery.deliver = inner  # type: ignore[method-assign]
        raise Evicted("refused")

    def until(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60.0
        while not done():
            assert time.monotonic() < deadline
            worker.turn()

    worker.start()
    until(lambda: worker.progress.running == 1)
    for records in (10, 20):
        for second in range(10):
            producer.send(topics["input"], b'{"value": 1, "time": %d}' % second)
        producer.flush()
        until(lambda records=records: (worker._source.committed(partition) or 0) >= records)  # type: ignore[misc]
        worker._ports.delivery.deliver = refused  # type: ignore[method-assign]
    assert worker.metrics.value("evictions_total") == 1
    worker._ports.delivery.deliver = inner  # type: ignore[method-assign]
    worker.finish()
    worker._ports.close()
    producer.close()


def _leaver(member_id: str) -> Any:
    from kafka.admin._groups import MemberToRemove

    return MemberToRemove(member_id=member_id, group_instance_id=None)
