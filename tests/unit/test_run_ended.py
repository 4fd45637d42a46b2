"""`run` on files to their end: what it reports about the records, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from anomaly_daemon.cli import main
from anomaly_daemon.errors import ExitCode

EVENTS = 300


def lines(folder: Path, name: str, minutes: Sequence[int], field: str = "a") -> str:
    path = folder / name
    path.write_text("".join(f'{{"t": {1772323200 + 60 * minute}, "{field}": {minute % 7}}}\n' for minute in minutes))
    return str(path)


def ended(
    folder: Path, capfd: pytest.CaptureFixture[str], paths: Sequence[str], *more: str
) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code, and the lines of the log."""
    config = folder / "run.yaml"
    config.write_text(
        f"name: r\nsource: {{kind: files, paths: {json.dumps(list(paths))}}}\nhttp: {{enabled: false}}\n"
        f"stream: {{time: t, time_unit: s, numeric: [a]}}\nlog: {{format: json}}\n"
        f"sink: {{kind: files, path: {folder}/alerts.jsonl, dead_letter_path: {folder}/letters.jsonl}}\n"
    )
    code = main(["run", "--config", str(config), *more])
    return code, [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]


def test_the_last_line_counts_what_was_read_and_what_became_of_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path, "in.jsonl", [*range(EVENTS), 3, 4])
    with Path(path).open("a") as more:
        more.write("no record\n")
    code, log = ended(tmp_path, capfd, [path])
    assert code == 0
    told = {name: log[-1][name] for name in ("records", "scored", "late", "dead_letters", "alerts", "exit_code")}
    warming = log[-1]["warming"]
    assert told == {
        "records": EVENTS + 3,
        "scored": EVENTS - warming,
        "late": 2,
        "dead_letters": 1,
        "alerts": 0,
        "exit_code": 0,
    }
    assert 0 < warming < EVENTS / 2
    assert not [line for line in log if line["event"] == "mostly unscored"]


def test_files_of_which_most_records_are_unreadable_are_no_good_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path, "in.jsonl", range(EVENTS))
    code, log = ended(tmp_path, capfd, [path], "--set", "stream.time=tme")
    assert code == ExitCode.INPUT
    assert (log[-1]["event"], log[-1]["level"], log[-1]["exit_code"]) == ("ended", "error", ExitCode.INPUT)
    assert f"{EVENTS} of {EVENTS} records could not be read ({EVENTS} missing_time)" in log[-1]["error"]
    assert "dead-letters" in log[-1]["error"]
    assert log[-1]["dead_letters"] == EVENTS


def test_a_file_that_is_newest_first_is_no_good_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = lines(tmp_path, "in.jsonl", range(EVENTS, 0, -1))
    code, log = ended(tmp_path, capfd, [path])
    assert code == ExitCode.INPUT
    assert f"{EVENTS - 1} of {EVENTS} events are older than an earlier one of their stream" in log[-1]["error"]
    assert "sort the records by time" in log[-1]["error"]
    assert ended(tmp_path, capfd, [path], "--set", "stream.late=accept")[0] == 0


def test_files_too_short_to_be_scored_are_told_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [lines(tmp_path, f"{hour}.jsonl", range(60 * hour, 60 * hour + 60)) for hour in range(5)]
    code, log = ended(tmp_path, capfd, paths)
    assert code == 0
    (warned,) = (line for line in log if line["event"] == "mostly unscored")
    assert "of 300 events were not scored" in warned["why"]
    assert "each file begins with a state of its own" in warned["why"]


def test_a_record_or_two_that_a_later_start_finds_say_nothing_of_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, state = lines(tmp_path, "in.jsonl", range(EVENTS)), f"snapshot.path={tmp_path}/state"
    assert ended(tmp_path, capfd, [path], "--set", state)[0] == 0
    late = lines(tmp_path, "more.jsonl", range(1))
    with Path(path).open("a") as file:
        file.write(Path(late).read_text())
    code, log = ended(tmp_path, capfd, [path], "--set", state)
    assert (code, log[-1]["records"], log[-1]["late"]) == (0, 1, 1)


def test_nothing_new_to_read_is_a_good_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, state = lines(tmp_path, "in.jsonl", range(EVENTS)), f"snapshot.path={tmp_path}/state"
    assert ended(tmp_path, capfd, [path], "--set", state)[0] == 0
    code, log = ended(tmp_path, capfd, [path], "--set", state)
    assert (code, log[-1]["records"]) == (0, 0)


def test_equal_readings_of_one_instant_count_once_and_finer_times_tell_them_apart(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.jsonl"
    for times, duplicates in ((lambda i: i // 10, 270), (lambda i: i / 10, 0)):
        path.write_text("".join(f'{{"t": {1772323200 + times(i)}, "a": {i // 10 % 7}}}\n' for i in range(EVENTS)))
        code, log = ended(tmp_path, capfd, [str(path)])
        assert (code, log[-1]["duplicate"]) == (0, duplicates)
        warned = [line["why"] for line in log if line["event"] == "mostly unscored"]
        assert len(warned) == bool(duplicates)
        assert all("the time and every value of the event before them" in why for why in warned)


@pytest.mark.parametrize("kept", [True, False])
def test_a_last_line_that_is_left_is_told_of(tmp_path: Path, capfd: pytest.CaptureFixture[str], kept: bool) -> None:
    path = lines(tmp_path, "in.jsonl", range(EVENTS))
    with Path(path).open("a") as more:
        more.write(f'{{"t": {1772323200 + 60 * EVENTS}, "a"')
    code, log = ended(tmp_path, capfd, [path], *(["--set", f"snapshot.path={tmp_path}/state"] if kept else []))
    assert (code, log[-1]["records"], log[-1]["dead_letters"]) == (0, EVENTS + (not kept), int(not kept))
    assert [line["path"] for line in log if line["event"] == "the last line was not read"] == [path] * kept


def test_a_file_that_was_rotated_in_place_is_no_good_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state = ("--set", f"snapshot.path={tmp_path}/state")
    path = lines(tmp_path, "in.jsonl", range(EVENTS))
    assert ended(tmp_path, capfd, [path], *state)[0] == 0
    lines(tmp_path, "in.jsonl", range(EVENTS, EVENTS + 50))
    code, log = ended(tmp_path, capfd, [path], *state)
    assert code == ExitCode.CONFIGURATION
    assert "another file has taken its place" in log[-1]["error"]
