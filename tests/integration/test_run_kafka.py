"""`anomaly-daemon run` as its own process on Apache Kafka."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable

import pytest
from daemon_process import Deployment, expected, readings, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

LINES = readings(["press", "oven"], 150, [60, 120])
Make = Callable[..., Deployment]


def test_it_alerts_answers_its_probes_and_ends_with_0(deployment: Make) -> None:
    one = deployment()
    one.produce([*LINES, b"not json"])
    daemon = one.start()
    wait_for("all to be committed", lambda: one.committed() >= len(LINES) + 1)
    assert one.told() == expected(one, {0: LINES})
    assert len(one.told()) >= 4
    assert daemon.ready()
    assert json.loads(daemon.get("/live")[1])["live"] is True
    metrics = daemon.get("/metrics")[1]
    assert f"anomaly_daemon_records_total {len(LINES) + 1}.0" in metrics
    assert 'anomaly_daemon_dead_letters_total{reason="malformed"} 1.0' in metrics
    assert daemon.end(signal.SIGTERM) == 0
    assert daemon.logged("ended") == daemon.lines()[-1]
    shown = one.command("alerts", "--from-beginning", "--no-follow", "--json", "--stream", "ov*", "--event", "open")
    assert {json.loads(line)["stream"]["key"] for line in shown.splitlines()} == {"oven"}


def test_an_input_that_takes_clocks_further_ahead_than_its_limit_is_warned_of_at_the_start(deployment: Make) -> None:
    one = deployment()  # its topic accepts times up to an hour ahead, by this broker's default
    for limit, warned in ((3599, True), (3600, False)):
        daemon = one.start(f"stream.ahead_limit_seconds={limit}")
        wait_for("it to be ready", daemon.ready)
        said = daemon.logged("questionable topic settings")
        assert (said is not None) == warned
        assert said is None or "ahead by up to 3600 s" in said["reason"]
        assert daemon.end(signal.SIGTERM) == 0


def test_a_restart_goes_on_where_it_stopped(deployment: Make) -> None:
    one = deployment()
    half = len(LINES) // 2
    one.produce(LINES[:half])
    first = one.start()
    wait_for("the first half to be committed", lambda: one.committed() == half)
    assert first.end(signal.SIGTERM) == 0
    one.produce(LINES[half:])
    second = one.start()
    wait_for("the second half to be committed", lambda: one.committed() == len(LINES))
    assert one.told() == expected(one, {0: LINES})
    assert second.end(signal.SIGTERM) == 0
    taken = second.logged("partition taken over")
    assert taken is not None
    assert (taken["state"], taken["position"], taken["live_from"]) == ("restored", half, half)


def test_killed_again_and_again_it_neither_loses_nor_doubles_an_alert(deployment: Make) -> None:
    one = deployment(1, "kafka.transactional_id=the-one", "kafka.group_instance_id=the-one")
    lines = readings(["press", "oven", "saw"], 200, [60, 110, 160])
    chance = random.Random(5)
    fed = 0
    for _ in range(4):
        daemon = one.start()
        wait_for("it to be ready", daemon.ready)
        one.produce(lines[fed : fed + 150])
        fed += 150
        time.sleep(chance.uniform(0.0, 0.5))  # so that it is killed at any step of reading them
        daemon.end(signal.SIGKILL)
    last = one.start()
    wait_for("the last one to be ready", last.ready)
    wait_for("all to be committed", lambda: one.committed() == len(lines))
    assert fed == len(lines)
    assert one.told() == expected(one, {0: lines})
    assert last.end(signal.SIGTERM) == 0


def test_partitions_that_move_between_members_keep_their_streams(deployment: Make) -> None:
    one = deployment(2)
    parts = {0: readings(["press", "oven"], 160, [60, 120]), 1: readings(["saw"], 320, [100, 230])}
    first = one.start()
    wait_for("the first member to be ready", first.ready)
    for number, lines in parts.items():
        one.produce(lines[:110], number)
    second = one.start()  # takes over one partition from the first in an orderly way
    wait_for("the second member to have taken over", lambda: second.logged("partition taken over"))
    for number, lines in parts.items():
        one.produce(lines[110:220], number)
    wait_for("both to have committed", lambda: one.committed(0) >= 220 and one.committed(1) >= 220)
    second.end(signal.SIGKILL)  # the first gets the partition back without an orderly hand-over
    for number, lines in parts.items():
        one.produce(lines[220:], number)
    wait_for("all to be committed", lambda: one.committed(0) == 320 and one.committed(1) == 320)
    assert one.told() == expected(one, parts)
    assert first.end(signal.SIGTERM) == 0


def test_a_member_that_gets_no_partition_stands_by_ready(deployment: Make) -> None:
    one = deployment()
    members = [one.start(), one.start()]
    for member in members:
        wait_for("both to be ready", member.ready)
    assigned = sorted(json.loads(member.get("/ready")[1])["partitions"]["running"] for member in members)
    assert assigned == [0, 1]


def test_a_second_instance_with_the_same_transactional_id_fences_the_first(deployment: Make) -> None:
    one = deployment(1, "kafka.transactional_id=the-one")
    first = one.start()
    wait_for("the first to be ready", first.ready)
    second = one.start()
    wait_for("the second to have joined", lambda: second.logged("partition assignment changed"))
    one.produce(LINES)
    wait_for("all to be committed", lambda: one.committed() == len(LINES))
    assert one.told() == expected(one, {0: LINES})
    codes = {first.process.poll(), second.process.poll()} - {None}
    assert codes <= {75}


def test_a_topic_that_is_not_there_ends_it_with_what_to_do(deployment: Make) -> None:
    one = deployment(1, "source.topic=nowhere")
    daemon = one.start()
    assert daemon.process.wait(timeout=60) == 78
    assert "source.topic" in daemon.log()
