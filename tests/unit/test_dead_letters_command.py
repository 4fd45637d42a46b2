"""`dead-letters` shows records that could not be read, and why, whatever their bytes are."""

from __future__ import annotations

import argparse
import json
import shlex
from base64 import b64decode
from pathlib import Path

import pytest
from codec_batches import batch_of

from anomaly_daemon.cli import main
from anomaly_daemon.commands import dead_letters as command
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.transport.dead_letters import as_json, dead_letter

RECORDS = [b'{"time": 1, "level": 2', b'{"level": 2}', b"\xff\x1b[2J\x00", b"x" * 5000]
REASONS = ["malformed", "missing_time", "bad_utf8", "malformed"]
KEYS: list[bytes | None] = [b"pump-1", None, b"\x1b[31m", b"pump-1"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    batch = batch_of(RECORDS, keys=KEYS)
    letters = [dead_letter(batch, row, reason, f"why {row}", "decode") for row, reason in enumerate(REASONS)]
    path = tmp_path / "dead-letters.jsonl"
    path.write_bytes(b"".join(as_json(letter) + b"\n" for letter in letters))
    return path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["dead-letters", *arguments]) == ExitCode.OK
    return capsys.readouterr().out


def offsets(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    return [json.loads(line)["offset"] for line in shown(capsys, "--json", *arguments).splitlines()]


def test_people_see_reason_origin_key_and_how_the_record_begins(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--file", str(file)).splitlines()
    assert lines[:4] == [
        "malformed  readings/3/100  key pump-1  decode: why 0",
        '    {"time": 1, "level": 2',
        "missing_time  readings/3/101  decode: why 1",
        '    {"level": 2}',
    ]
    assert lines[-1] == f"{file}: 4 dead letters: 2 malformed, 1 missing_time, 1 bad_utf8"


def test_a_record_cannot_move_the_cursor_and_only_begins(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--file", str(file)).splitlines()
    assert lines[4:6] == ["bad_utf8  readings/3/102  key �[31m  decode: why 2", "    ��[2J�"]
    assert lines[7] == f"    {'x' * command.BEGINNING}… 5,000 bytes"


def test_nor_can_whoever_else_writes_dead_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letter = dict.fromkeys(("reason", "detail", "stage", "topic", "partition", "offset"), "\x1b[2J")
    (tmp_path / "hostile").write_text(json.dumps(letter | {"key": None, "value": None, "headers": []}) + "\n")
    assert "\x1b" not in shown(capsys, "--file", str(tmp_path / "hostile"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["100", "101", "102", "103"]),
        (["--reason", "malformed"], ["100", "103"]),
        (["--limit", "3"], ["101", "102", "103"]),
        (["--limit", "1", "--reason", "malformed"], ["103"]),
        (["--reason", "late"], []),
    ],
)
def test_the_newest_of_a_reason_are_shown_last(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    assert offsets(capsys, "--file", str(file), *arguments) == expected


def test_all_are_counted_where_few_are_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--file", str(file), "--limit", "1").splitlines()
    assert lines[0].startswith("malformed  readings/3/103")
    assert lines[-1] == f"{file}: 4 dead letters: 2 malformed, 1 missing_time, 1 bad_utf8; the newest 1 are shown"


def test_json_lines_are_those_of_the_file_and_give_the_record_back(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [json.loads(line) for line in shown(capsys, "--file", str(file), "--json").splitlines()]
    assert told == [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [b64decode(one["value"]) for one in told] == RECORDS


def test_the_configuration_says_where_they_are(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["source.kind=files", 'source.paths=["readings.jsonl"]', 'stream.key=["pump"]', "stream.time=time"]
    settings += ['stream.numeric=["level"]', "sink.kind=files"]
    arguments = [word for one in settings for word in ("--set", one)]
    assert offsets(capsys, *arguments, "--set", f"sink.dead_letter_path={file}") == ["100", "101", "102", "103"]
    assert main(["dead-letters", *arguments]) == ExitCode.CONFIGURATION
    assert "no dead letters are kept" in capsys.readouterr().err
    assert main(["dead-letters", *arguments, "--set", "sink.dead_letter_path=/not/there"]) == ExitCode.NO_INPUT
    capsys.readouterr()
    assert main(["dead-letters", *arguments, "--set", "sink.dead_letter_path=-"]) == ExitCode.USAGE
    assert "the dead letters go to standard output" in capsys.readouterr().err


def test_a_file_without_any_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none").write_bytes(b"")
    assert shown(capsys, "--file", str(tmp_path / "none")) == f"{tmp_path / 'none'}: 0 dead letters\n"


def test_what_is_no_dead_letter_is_told_of_in_a_few_lines(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [b"not json", b"[1]", b'{"a": 1}', b'{"key": null, "value": null, "headers": []}', b"\xff", b"[" * 100_000]
    mixed = tmp_path / "mixed"
    mixed.write_bytes(b"\n".join(others) + b"\n" + file.read_bytes())
    assert main(["dead-letters", "--file", str(mixed), "--json"]) == ExitCode.OK
    told = capsys.readouterr()
    assert (len(told.out.splitlines()), told.err.count("skipped: not a dead letter of this program")) == (4, 5)
    mixed.write_bytes(b"\n".join(others))
    assert main(["dead-letters", "--file", str(mixed)]) == ExitCode.INPUT
    assert "none of its 6 lines is a dead letter" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--limit", "0"], ["--reason", "bad_timing"]])
def test_a_wrong_filter_is_refused(file: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "--file", str(file), *wrong]) == ExitCode.USAGE
    assert wrong[0] in capsys.readouterr().err


def test_the_example_asks_for_what_it_says() -> None:
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    asked = [parser.parse_args(shlex.split(line.split("|")[0])[2:]) for line in command.EXAMPLE.splitlines()]
    assert [(one.config, one.file, one.reason, one.limit, one.json) for one in asked] == [
        (Path("sensors.yaml"), None, None, None, False),
        (Path("sensors.yaml"), None, "bad_time", 5, False),
        (None, "dead-letters.jsonl", None, None, True),
    ]
