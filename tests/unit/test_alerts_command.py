from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from running_sum import RunningSum

from anomaly_daemon.cli import main
from anomaly_daemon.commands import alerts, backtest, common
from anomaly_daemon.commands.unreadable import MAX_REPORTED
from anomaly_daemon.daemon.commit import Outbox
from anomaly_daemon.detection.alert import Alert, Event, Kind, Stream
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.transport.alert_codec import encode
from anomaly_daemon.transport.kafka import inspect
from anomaly_daemon.transport.ports import Partition

MAKER = RunningSum(Partition("readings", 0))


def alert(key: str, kind: Kind = Kind.PATTERN, event: Event = Event.OPEN, severity: float = 55.0) -> Alert:
    made = MAKER._alert(key, kind, event, 1, 1, 0)
    return replace(made, severity=severity, stream=Stream(key, {}), reason=f"{key} is odd")


ALERTS = [
    alert("plant-1/press"),
    alert("plant-1/oven", Kind.SILENCE, severity=80.0),
    alert("plant-2/press", Kind.STUCK),
    alert("plant-1/press", event=Event.CLOSE, severity=65.0),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.jsonl"
    digest = Outbox("test", encode, lambda: 0.0).digest(12, [], "2024-01-01T00:00:00Z")
    values = [encode(one, "test", "2024-01-01T00:00:00Z").value or b"" for one in ALERTS] + [digest.value or b""]
    path.write_bytes(b"\n".join(values) + b"\n\n")
    return path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["alerts", "--json", *arguments]) == ExitCode.OK
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def keys(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> list[str]:
    found = shown(capsys, "--file", str(file), *arguments)
    return [line["stream"]["key"] for line in found if "digest" not in line]  # type: ignore[index]


def test_json_lines_are_the_alerts_as_published(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = [json.loads(line) for line in file.read_text().splitlines() if line]
    assert shown(capsys, "--file", str(file)) == published


def test_a_kind_that_is_none_is_told_which_there_are(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["alerts", "--file", str(file), "--kind", "patern"])
    assert "(choose from 'pattern', 'silence', 'stuck', 'schema')" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--stream", "plant-1/*"], ["plant-1/press", "plant-1/oven", "plant-1/press"]),
        (["--stream", "*/PRESS"], []),
        (["--kind", "stuck"], ["plant-2/press"]),
        (["--event", "close"], ["plant-1/press"]),
        (["--min-severity", "65"], ["plant-1/oven", "plant-1/press"]),
        (["--min-severity", "65", "--kind", "pattern"], ["plant-1/press"]),
        (["--limit", "2"], ["plant-1/press", "plant-1/oven"]),
    ],
)
def test_each_filter_lets_through_what_it_names(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    assert keys(capsys, file, *arguments) == expected


def test_no_filter_hides_a_digest(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = shown(capsys, "--file", str(file), "--stream", "nobody", "--min-severity", "99")
    assert line["digest"] == {"held_back": 12}


def test_people_get_a_table(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "--file", str(file)]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["event", "time", "event", "kind", "severity", "stream", "reason"]
    assert lines[2].split() == [
        "2024-01-01T00:00:00",
        "open",
        "silence",
        "80",
        "plant-1/oven",
        "plant-1/oven",
        *["is", "odd"],
    ]
    assert "12 alerts were held back" in lines[5]
    assert lines[2].index("plant-1/oven") == lines[0].index("stream")


def test_a_streams_name_cannot_move_the_cursor() -> None:
    value = json.loads(encode(alert("\x1b[2J\nboo"), "test", "").value or b"")
    assert alerts.cells(value)[4] == "�[2J�boo"


def test_nor_can_it_in_a_table_or_a_backtest(capsys: pytest.CaptureFixture[str]) -> None:
    assert common.table(["stream", ""], [["\x1b[2J\nboo", "x"]]).splitlines()[2] == "�[2J�boo  x"
    backtest._say(alert("\x1b[2J\nboo", Kind.SILENCE))
    (line,) = capsys.readouterr().out.splitlines()
    assert "�[2J�boo" in line


def test_what_is_no_alert_is_said_and_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mixed.jsonl"
    good = encode(ALERTS[0], "test", "").value or b""
    path.write_bytes(b"\n".join([b"not json", b"[1]", b'{"a": 1}', b"\xff", b"[" * 100_000, good]))
    assert main(["alerts", "--json", "--file", str(path)]) == ExitCode.OK
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert told.err.count("skipped") == 5


def test_a_file_of_something_else_is_told_of_in_a_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "readings.csv"
    path.write_bytes(b"a,b\n" * 1000)
    assert main(["alerts", "--file", str(path)]) == ExitCode.INPUT
    told = capsys.readouterr().err.splitlines()
    assert len(told) == MAX_REPORTED + 2
    assert "none of its 1,000 lines is an alert" in told[-1]
    path.write_bytes(b"")
    assert main(["alerts", "--file", str(path)]) == ExitCode.OK


def test_a_file_that_is_not_there_has_its_exit_code() -> None:
    assert main(["alerts", "--file", "/not/there"]) == ExitCode.NO_INPUT


def test_where_files_are_read_the_configuration_names_the_file_of_alerts(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["source.kind=files", 'source.paths=["readings.jsonl"]', 'stream.key=["pump"]', "stream.time=time"]
    arguments = [word for one in [*settings, 'stream.numeric=["level"]'] for word in ("--set", one)]
    assert len(shown(capsys, *arguments, "--set", f"sink.path={file}", "--kind", "stuck")) == 2
    assert main(["alerts", *arguments]) == ExitCode.USAGE
    assert "name a copy of them with --file" in capsys.readouterr().err


def test_the_schemas_are_printed_by_the_names_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "--schema", "json"]) == ExitCode.OK
    schema = json.loads(capsys.readouterr().out)
    Draft202012Validator(schema).validate(json.loads(encode(ALERTS[0], "test", "").value or b""))
    settings = ["source.topic=in", 'stream.numeric=["level"]', "sink.alerts_topic=out", "name=plant"]
    for arguments, topic in (([], "anomaly-alerts"), ([f"--set={one}" for one in settings], "out")):
        assert main(["alerts", "--schema", "asyncapi", *arguments]) == ExitCode.OK
        document = json.loads(capsys.readouterr().out)
        assert document["channels"]["alerts"]["address"] == topic
    assert document["info"]["title"] == "Alerts of plant"


def test_a_limit_of_more_than_a_machine_counts_to_is_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(shown(capsys, "--file", str(file), "--limit", str(10**20))) == len(ALERTS) + 1


def test_a_limit_below_one_is_refused(file: Path) -> None:
    assert main(["alerts", "--file", str(file), "--limit", "0"]) == ExitCode.USAGE


@pytest.mark.parametrize("severity", ["nan", "-1", "101", "high"])
def test_a_severity_that_there_is_not_is_refused(file: Path, severity: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["alerts", "--file", str(file), "--min-severity", severity])
    assert ended.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("arguments", "from_beginning", "follow"),
    [([], False, True), (["--from-beginning"], True, True), (["--no-follow"], True, False)],
)
def test_of_a_topic_what_is_there_is_shown_or_what_comes(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], from_beginning: bool, follow: bool
) -> None:
    asked: list[object] = []

    def tail(*given: object) -> Iterator[object]:
        asked.extend(given[1:])
        return iter(())

    monkeypatch.setattr(inspect, "tail", tail)
    settings = ["source.topic=in", 'stream.numeric=["level"]', "sink.alerts_topic=out"]
    assert main(["alerts", *arguments, *(f"--set={one}" for one in settings)]) == ExitCode.OK
    assert asked == ["out", from_beginning, follow]


def test_the_example_asks_for_what_it_says() -> None:
    parser = argparse.ArgumentParser()
    alerts.arguments(parser)
    first, second, third = (
        parser.parse_args(shlex.split(line.split("|")[0])[2:]) for line in alerts.EXAMPLE.splitlines()
    )
    assert (first.config, first.from_beginning, first.no_follow, first.json) == (
        Path("sensors.yaml"),
        False,
        False,
        False,
    )
    assert (second.no_follow, second.json, second.kind) == (True, True, "pattern")
    assert (third.file, third.stream, third.min_severity) == ("alerts.jsonl", "plant-1/*", 70.0)


def test_a_file_is_followed_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alerts.jsonl"
    asked: list[str] = []

    def follow(name: str) -> Iterator[bytes]:
        asked.append(name)
        return iter([encode(ALERTS[0], "test", "").value or b""])

    monkeypatch.setattr(alerts, "follow", follow)
    assert main(["alerts", "--file", str(path), "--follow"]) == 0
    assert asked == [str(path)]
    with pytest.raises(SystemExit):
        main(["alerts", "--file", str(path), "--follow", "--no-follow"])
