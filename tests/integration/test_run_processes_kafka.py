"""`anomaly-daemon run --processes N` on Apache Kafka: several members of the group behind one process with one address."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable

import pytest
from daemon_process import Daemon, Deployment, expected, readings, wait_for

from anomaly_daemon.errors import ExitCode

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

PARTS = {0: readings(["press", "oven"], 160, [60, 120]), 1: readings(["saw"], 320, [100, 230])}
STATIC = "kafka.group_instance_id=here"
Make = Callable[..., Deployment]


def processes(daemon: Daemon) -> dict[int, list[int]]:
    """Return the process ids of each member, in the order in which they were started."""
    found: dict[int, list[int]] = {}
    for line in daemon.lines():
        if line["event"] == "process started":
            found.setdefault(line["process"], []).append(line["id"])
    return found


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_processes_share_the_partitions_answer_as_one_and_stop_as_one(deployment: Make) -> None:
    one = deployment(2)
    daemon = one.start(arguments=["--processes=2"])
    wait_for("both to be ready", daemon.ready)
    for number, lines in PARTS.items():
        one.produce(lines, number)
    wait_for("all to be committed", lambda: [one.committed(number) for number in PARTS] == [320, 320])
    assert one.told() == expected(one, PARTS)
    ready = json.loads(daemon.get("/ready")[1])
    assert [ready["processes"][number]["partitions"]["running"] for number in "01"] == [1, 1]
    assert json.loads(daemon.get("/live")[1])["live"] is True
    metrics = daemon.get("/metrics")[1]
    assert re.findall(r'anomaly_daemon_records_total{process="(\d)"} (\S+)', metrics) == [
        ("0", "320.0"),
        ("1", "320.0"),
    ]
    assert daemon.end(signal.SIGTERM) == ExitCode.OK
    ended = [line for line in daemon.lines() if line["event"] == "ended"]
    assert [(line.get("process"), line["exit_code"]) for line in ended[-1:]] == [(None, 0)]
    assert {line.get("process") for line in ended} == {"0", "1", None}
    assert not any(alive(process) for ids in processes(daemon).values() for process in ids)


def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost_or_doubled(deployment: Make) -> None:
    one = deployment(2, STATIC)
    daemon = one.start(arguments=["--processes=2"])
    wait_for("both to be ready", daemon.ready)
    for number, lines in PARTS.items():
        one.produce(lines[:150], number)
    wait_for("some to be committed", lambda: all(one.committed(number) > 0 for number in PARTS))
    os.kill(processes(daemon)[0][0], signal.SIGKILL)
    for number, lines in PARTS.items():
        one.produce(lines[150:], number)
    wait_for("all to be committed", lambda: [one.committed(number) for number in PARTS] == [320, 320])
    assert one.told() == expected(one, PARTS)
    assert len(processes(daemon)[0]) == 2
    wait_for("both to be ready", daemon.ready)
    assert 'anomaly_daemon_process_starts_total{process="0"} 2.0' in daemon.get("/metrics")[1]
    assert daemon.end(signal.SIGTERM) == ExitCode.OK


def test_the_members_do_not_outlive_a_supervisor_that_is_killed(deployment: Make) -> None:
    one = deployment(2)
    daemon = one.start(arguments=["--processes=2"])
    wait_for("both to be ready", daemon.ready)
    ids = [process for each in processes(daemon).values() for process in each]
    daemon.end(signal.SIGKILL)
    wait_for("all to be gone", lambda: not any(alive(process) for process in ids))


def test_what_none_can_run_with_ends_them_all_with_its_code(deployment: Make) -> None:
    one = deployment(2, "model.path=/nowhere")
    daemon = one.start(arguments=["--processes=2"])
    assert daemon.process.wait(timeout=90) == ExitCode.CONFIGURATION
    assert daemon.logged("process ended: stopping all processes")
    assert "model.path" in daemon.log()
