"""`replay` on files, as people and scripts use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import same_process
from replaying import troubled

from anomaly_daemon.errors import ExitCode

CONFIG = """\
name: plant
source: {kind: files, paths: [records.jsonl]}
stream: {key: [id], time: time, numeric: [temperature, flow]}
detection: {grace_events: 20, budget: {alarms_per_stream_per_day: 20}}
sink: {kind: files, path: alerts.jsonl}
http: {enabled: false}
"""


def command(folder: Path, name: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    with chdir(folder):
        return same_process.command(name, "--config", "plant.yaml", *arguments, stdin=stdin)


def run(folder: Path) -> None:
    """Run the daemon as a process of its own. The tests replay the alerts that it publishes here."""
    words = [sys.executable, "-m", "anomaly_daemon.cli", "run", "--config", "plant.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(words, cwd=folder, env=environment, capture_output=True, timeout=150, check=True)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records, the alerts of a run over them, and a copy of the records in which one value differs."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "plant.yaml").write_text(CONFIG)
    records = troubled(200)
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    run(folder)
    records[opened(folder)["provenance"]["first_offset"]]["temperature"] += 0.001
    (folder / "tampered.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def opened(folder: Path, kind: str = "pattern", stream: str = "jumps") -> dict[str, object]:
    alerts = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    return next(one for one in alerts if (one["kind"], one["stream"]["key"], one["event"]) == (kind, stream, "open"))


def test_a_person_reads_the_verdict_and_both_sides(plant: Path) -> None:
    done = command(plant, "replay", str(opened(plant)["alert_id"]))
    assert done.returncode == ExitCode.OK, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith("identical: the pattern episode")
    assert any(line.startswith("open") and "features.temperature.expected" in line for line in rest)


def test_a_changed_value_is_different_with_code_1_and_named(plant: Path) -> None:
    done = command(plant, "replay", str(opened(plant)["alert_id"]), "--records", "tampered.jsonl", "--json")
    assert done.returncode == ExitCode.DIFFERENT
    told = json.loads(done.stdout)
    assert told["verdict"] == "different"
    fields = {one["field"]: one["by"] for one in told["differences"] if one["message"] == "open"}
    assert fields["features.temperature.actual"] == pytest.approx(0.001)
    assert "score" in fields


def test_an_alert_as_alerts_prints_it_is_enough(plant: Path) -> None:
    shown = command(plant, "alerts", "--file", "alerts.jsonl", "--json", "--kind", "silence", "--limit", "1")
    done = command(plant, "replay", "-", "--json", stdin=shown.stdout)
    told = json.loads(done.stdout)
    assert (told["verdict"], told["kind"], len(told["messages"])) == ("identical", "silence", 1)


def test_what_is_no_alert_on_standard_input_is_passed_over(plant: Path) -> None:
    shown = command(plant, "alerts", "--file", "alerts.jsonl", "--json", "--kind", "silence", "--limit", "1")
    digest = '{"schema_version": 1, "digest": {"held_back": 9}, "reason": "", "published": "2026-01-02T03:05:00Z"}\n'
    done = command(plant, "replay", "-", "--json", stdin=digest + shown.stdout)
    assert (done.returncode, done.stderr.count("skipped")) == (ExitCode.OK, 1)
    assert command(plant, "replay", "-", stdin=digest).returncode == ExitCode.USAGE


def test_the_picture_is_written(plant: Path) -> None:
    done = command(plant, "replay", str(opened(plant)["alert_id"]), "--picture", "picture.png")
    assert done.returncode == ExitCode.OK, done.stderr
    assert (plant / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_another_form_is_refused_before_anything_is_read(plant: Path) -> None:
    assert command(plant, "replay", "x", "--picture", "picture.gif").returncode == ExitCode.USAGE


def test_an_alert_that_is_not_there_is_no_input(plant: Path) -> None:
    done = command(plant, "replay", "0000")
    assert done.returncode == ExitCode.NO_INPUT
    assert "no alert 0000 in alerts.jsonl" in done.stderr


def test_records_that_came_through_a_pipe_are_not_comparable(plant: Path) -> None:
    alert = opened(plant)
    piped = alert | {"provenance": {**dict(alert["provenance"]), "topic": "-"}}  # type: ignore[call-overload]
    done = command(plant, "replay", "-", stdin=json.dumps(piped))
    assert done.returncode == ExitCode.NOT_COMPARABLE
    assert "standard input" in done.stderr


def test_an_alert_that_was_changed_on_its_way_is_different(plant: Path) -> None:
    alert = opened(plant)
    done = command(plant, "replay", "-", "--json", stdin=json.dumps(alert | {"score": 99.5}))
    assert done.returncode == ExitCode.DIFFERENT
    (only,) = json.loads(done.stdout)["differences"]
    assert (only["message"], only["field"], only["then"]) == ("open", "score", 99.5)
