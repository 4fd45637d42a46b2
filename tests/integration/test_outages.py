"""Brokers that go away, and processes that sleep: `anomaly-daemon run` on Apache Kafka."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon, Deployment, expected, readings, wait_for
from kafka import KafkaAdminClient

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
    """For longer than the session: the first thing it then does is to put everyone out."""
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
    """Records come all the time, so that a commit is under way when it goes."""
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
        assert daemon.end(signal.SIGTERM) == 0


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
    """What an operator's kafka-consumer-groups --delete-members does, and a broker that forgot."""
    one = deployment(1)
    daemon = one.start()
    wait_for("it to be ready", daemon.ready)
    one.produce(LINES[:130])
    admin = KafkaAdminClient(bootstrap_servers=one.bootstrap)
    (member,) = admin.describe_groups([one.topic])[one.topic]["members"]
    admin.remove_group_members(one.topic, [_leaver(member["member_id"])])
    admin.close()
    one.produce(LINES[130:])
    wait_for("all to be committed", lambda: one.committed() == len(LINES))
    assert one.told() == expected(one, {0: LINES})
    assert daemon.process.poll() is None
    assert json.loads(daemon.get("/ready")[1])["partitions"] == {"running": 1, "restoring": 0}


def _leaver(member_id: str) -> Any:
    from kafka.admin._groups import MemberToRemove

    return MemberToRemove(member_id=member_id, group_instance_id=None)
