"""`anomaly-daemon run` over files and pipes, as a process."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LINES = [
    json.dumps(
        {"id": "press", "time": 1_700_000_000 + 60 * at, "temperature": 20.0 + at % 7 + 80.0 * (250 <= at < 260)}
    )
    for at in range(300)
]
STREAM = ['stream.numeric=["temperature"]', 'stream.key=["id"]', "stream.time=time", "http.enabled=false"]
LIVELY = ["detection.grace_events=20", "detection.budget.alarms_per_stream_per_day=50"]


def run(*overrides: str, stdin: str = "", most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the daemon. With `most_bytes`, no file can grow beyond that many bytes, as on a full disk."""
    words = [f"--set={override}" for override in (*STREAM, *LIVELY, "source.kind=files", *overrides)]
    command = [sys.executable, "-m", "anomaly_daemon.cli", "run", *words]
    full = None if most_bytes is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, preexec_fn=full)


@pytest.fixture(scope="module")
def piped() -> subprocess.CompletedProcess[str]:
    return run('source.paths=["-"]', stdin="\n".join(LINES))


def told(text: str) -> list[tuple[str, str, int]]:
    alerts = [json.loads(line) for line in text.splitlines()]
    return [(alert["kind"], alert["event"], alert["provenance"]["first_offset"]) for alert in alerts]


def judged(text: str) -> list[list[object]]:
    alerts = [json.loads(line) for line in text.splitlines()]
    return [[alert[name] for name in ("episode", "p_value", "severity", "features")] for alert in alerts]


def test_a_pipe_goes_in_and_alerts_come_out(piped: subprocess.CompletedProcess[str]) -> None:
    assert piped.returncode == 0, piped.stderr
    assert ("pattern", "open", 250) in told(piped.stdout)


@pytest.mark.parametrize(
    ("several", "settings"),
    [
        (lambda part: f"[{', '.join(part)}]", ["stream.unnest=."]),
        (
            lambda part: f'{{"gateway": {{"id": 7, "readings": [{", ".join(part)}]}}}}',
            ["stream.unnest=gateway.readings"],
        ),
    ],
)
def test_messages_of_several_records_give_the_alerts_of_the_records_one_by_one(
    several: Callable[[list[str]], str], settings: list[str], piped: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    messages = [several(LINES[at : at + 7]) for at in range(0, len(LINES), 7)]
    kept = [f'source.paths=["{source}"]', f"sink.path={out}", f"snapshot.path={tmp_path / 'state'}", *settings]
    for count in (20, len(messages)):
        source.write_text("\n".join(messages[:count]) + "\n")
        done = run(*kept)
        assert done.returncode == 0, done.stderr
    one_by_one = told(piped.stdout)
    assert told(out.read_text()) == [(kind, event, offset // 7) for kind, event, offset in one_by_one]
    assert judged(out.read_text()) == judged(piped.stdout)


def test_logs_go_to_standard_error_as_json_where_no_person_watches(piped: subprocess.CompletedProcess[str]) -> None:
    events = [json.loads(line)["event"] for line in piped.stderr.splitlines()]
    assert events[0] == "starting"
    assert events[-1] == "ended"


def test_with_a_snapshot_folder_a_second_run_goes_on_where_the_first_ended(
    piped: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    kept = [f'source.paths=["{source}"]', f"sink.path={out}", f"snapshot.path={tmp_path / 'state'}"]
    source.write_text("\n".join(LINES[:254]) + "\n")
    assert run(*kept).returncode == 0
    source.write_text("\n".join(LINES) + "\n")
    assert run(*kept).returncode == 0
    assert told(out.read_text()) == told(piped.stdout)


def test_a_file_that_is_not_there_has_its_exit_code() -> None:
    done = run('source.paths=["/not/there.jsonl"]')
    assert done.returncode == 66
    assert "/not/there.jsonl: no such file" in done.stderr


@pytest.mark.parametrize("most_bytes", [0, 1_000, 2_500])
def test_a_full_disk_ends_it_with_69_and_once_there_is_room_nothing_is_lost_or_doubled(
    piped: subprocess.CompletedProcess[str], tmp_path: Path, most_bytes: int
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(LINES) + "\n")
    kept = [f'source.paths=["{source}"]', f"sink.path={out}", f"snapshot.path={tmp_path / 'state'}"]
    full = run(*kept, "limits.retry_seconds=0.3", most_bytes=most_bytes)
    assert full.returncode == 69, full.stderr
    assert "make room" in full.stderr.splitlines()[-1]
    assert run(*kept).returncode == 0
    assert told(out.read_text()) == told(piped.stdout)


def test_a_state_folder_that_cannot_be_made_is_named() -> None:
    done = run('source.paths=["-"]', "snapshot.path=/proc/nowhere", stdin="\n".join(LINES[:1]))
    assert done.returncode == 78
    assert "snapshot.path" in done.stderr.splitlines()[-1]
