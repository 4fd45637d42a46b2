"""The demo: the shipped configuration in code, the real pipeline from end to end on a small plant, and a correct
summary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_samples import HOUR, START, alert, observations, seen, step

from anomaly_daemon import cli
from anomaly_daemon.commands.demo import process_age
from anomaly_daemon.configuration import load
from anomaly_daemon.demo import show
from anomaly_daemon.demo.deployments import SENSORS, TRANSACTIONS
from anomaly_daemon.demo.faults import DAY, Fault, FaultKind
from anomaly_daemon.demo.generator import MONDAY, Generated, Record, sensor_records, transaction_records
from anomaly_daemon.demo.live import due, live_records
from anomaly_daemon.demo.picture import chosen, draw
from anomaly_daemon.demo.play import Played, play
from anomaly_daemon.demo.scoring import outcome
from anomaly_daemon.demo.sensors import METRICS, Plant
from anomaly_daemon.demo.transactions import Bank
from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.report.episodes import EpisodeBook
from anomaly_daemon.report.matching import Hit, match
from anomaly_daemon.report.tally import Tally
from anomaly_daemon.report.trace import points
from anomaly_daemon.settings import Settings

CONFIGS = Path(__file__).parents[2] / "configs"
SUMMARY = (
    "events",
    "streams",
    "events_per_second",
    "faults_injected",
    "faults_found",
    "false_alarms",
    "alarm_budget",
    "first_alert_seconds",
)


@pytest.mark.parametrize(
    ("settings", "name"), [(SENSORS, "sensors.yaml"), (TRANSACTIONS, "transactions.yaml")], ids=["sensors", "cards"]
)
def test_the_demo_detects_with_the_shipped_configuration(settings: Settings, name: str) -> None:
    shipped = load(CONFIGS / name, environment={})
    assert settings.name == shipped.name
    assert settings.source.topic == shipped.source.topic
    assert settings.stream == shipped.stream
    assert settings.detection == shipped.detection
    assert settings.model == shipped.model
    assert settings.limits == shipped.limits


def generated(faults: tuple[Fault, ...]) -> Generated:
    return Generated((), ("a", "b"), faults, START, START + 4 * DAY, HOUR)


def test_a_fault_is_found_while_it_lasts_and_an_alarm_as_it_ends_is_neither() -> None:
    faults = (Fault("a", FaultKind.DRIFT, START, START + HOUR), Fault("b", FaultKind.DRIFT, START, START + HOUR))
    result = outcome(generated(faults), [seen("a", 0.5), seen("b", 1.5), seen("b", 9)], alarms_per_day=0.5)
    assert result.by_kind == {FaultKind.DRIFT: (1, 2)}
    assert (len(result.matched.aftermath), len(result.matched.false_alarms)) == (1, 1)
    assert result.alarm_budget == 0.5 * 2 * 4


def test_a_small_plant_goes_through_the_whole_street() -> None:
    """Codec, state, network, calibration, episodes and sink are the same as in production. Two obvious faults are
    found."""
    plant = sensor_records(3, Plant(MONDAY, machines=6, days=3), faults=6)
    alerts: list[Alert] = []
    tally, progress = Tally(), []
    played = play(SENSORS, plant, alerts.append, [tally], progress.append)
    assert tally.events + played.rejected == len(plant.records) == sum(progress) + played.rejected
    assert tally.by_status["scored"] > 0.8 * tally.events
    assert set(tally.streams) == set(plant.streams)
    silence = next(fault for fault in plant.faults if fault.kind is FaultKind.SILENCE)
    assert [one for one in alerts if one.kind is Kind.SILENCE and one.stream.key == silence.stream]
    changed = next(fault for fault in plant.faults if fault.kind is FaultKind.UNIT_CHANGE)
    assert any(hit.window == changed and hit.episode for hit in played.outcome.matched.hits)
    opened = {one.alert_id for one in alerts if one.event is Event.OPEN}
    assert {one.alert_id for one in alerts} == opened, "no update or close without its open"


def test_cards_go_through_the_whole_street_with_their_texts() -> None:
    bank = transaction_records(3, Bank(MONDAY, cards=5, days=10), faults=2)
    tally = Tally()
    played = play(TRANSACTIONS, bank, lambda alert: None, [tally])
    assert tally.events + played.rejected == len(bank.records)
    assert set(tally.streams) == set(bank.streams)


def played() -> Played:
    faults = (Fault("a", FaultKind.SPIKE, START, START + HOUR), Fault("b", FaultKind.STUCK, START, START + HOUR))
    records = tuple(Record(START, b"a", b"{}") for _ in range(1000))
    one = Generated(records, ("a", "b"), faults, START, START + 4 * DAY, HOUR)
    book = EpisodeBook()
    book.add(alert(stream="a", hour=0.5))
    return Played(one, book, outcome(one, book.episodes, 1.0), 3, 2.0)


def test_the_summary_has_every_figure_that_a_script_asks_for() -> None:
    whole = show.summary({"sensors": played(), "transactions": played()}, 4.2)
    assert set(SUMMARY) <= set(whole)
    assert (whole["events"], whole["streams"], whole["events_per_second"]) == (2000, 4, 500.0)
    assert (whole["faults_injected"], whole["faults_found"], whole["false_alarms"]) == (4, 2, 0)
    assert (whole["alarm_budget"], whole["first_alert_seconds"]) == (16.0, 4.2)
    assert whole["median_delay_seconds"] == 1800.0
    json.dumps(whole, allow_nan=False)


def test_the_summary_for_a_person_says_what_was_missed() -> None:
    text = show.summary_text({"sensors": played()}, None)
    assert "1 of 2 injected" in text
    assert "stuck sensor           0 of 1" in text
    assert "no alert" in text
    assert "allows 8" in text


def test_the_picture_shows_the_fault_whose_alarm_left_the_most_time() -> None:
    early, late = Fault("a", FaultKind.SPIKE, START, START + 4 * HOUR), Fault("b", FaultKind.SPIKE, START, START + HOUR)
    missed = Fault("c", FaultKind.DRIFT, START, START + 9 * HOUR)
    hits = match([late, missed, early], [seen("a", 1), seen("b", 0.9)]).hits
    trace = points(observations(["a"], [0]), step([0.5]))
    picked = chosen(hits, {"a": trace, "b": trace, "c": trace})
    assert picked is not None
    assert picked.window == early
    assert chosen(hits, {}) is None


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    minutes = range(0, 600, 5)
    trace = points(observations(["a"] * 120, minutes), step([None] * 10 + [0.5] * 110))
    fault = Fault("a", FaultKind.LEVEL_SHIFT, START + 2 * HOUR, START + 4 * HOUR)
    draw(tmp_path / "out.png", Hit(fault, seen("a", 3)), trace, METRICS[:2], [seen("a", 3), seen("a", 5, hours=None)])
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_live_records_wait_until_they_are_due() -> None:
    records = tuple(Record(second * 1_000_000, b"a", b"%d" % second) for second in (5, 9, 12))
    clock, slept = [10.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    given = list(due(Generated(records, ("a",), (), 0, 1, 0), now=lambda: clock[0], sleep=sleep))
    assert [record.value for record in given] == [b"5", b"9", b"12"]
    assert sum(slept) == pytest.approx(2.0)


def test_live_records_begin_with_a_backlog_and_name_their_topic() -> None:
    topic, records = live_records("transactions", seed=0)
    assert topic == "card-transactions"
    assert next(records).key is not None


def test_the_age_of_the_process_is_counted_from_its_start() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(0.5); from anomaly_daemon.commands.demo import *; "]
    command[-1] += "print(process_age())"
    age = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0.5 <= age < 60
    assert process_age() > 0


def test_the_command_line_knows_the_demo() -> None:
    args = cli.parser(["demo"]).parse_args(["demo", "--seed", "7", "--json"])
    assert (args.seed, args.json, args.publish) == (7, True, False)


@pytest.mark.timeout(400)
def test_the_command_ends_with_the_summary_as_its_last_line(tmp_path: Path) -> None:
    """This is the demo as a person runs it. It takes some minutes of two shared cores at worst."""
    command = [sys.executable, "-m", "anomaly_daemon.cli", "demo", "--json", "--picture", "one.png"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=380, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    *episodes, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(last) == ["summary"]
    assert set(SUMMARY) <= set(last["summary"])
    assert all(list(row) == ["episode"] and row["episode"]["event"] in ("open", "close") for row in episodes)
    assert last["summary"]["faults_found"] > 0
    assert last["summary"]["false_alarms"] <= last["summary"]["alarm_budget"]
    assert (tmp_path / "one.png").stat().st_size > 10_000
