"""`validate` reads the first records, because a configuration may be valid and still read nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import ExitCode


@pytest.fixture
def config(tmp_path: Path) -> Path:
    records = tmp_path / "pumps.csv"
    lines = [f"{1772323200 + 60 * n},pump-{n % 2},{n % 7}" for n in range(40)]
    records.write_text("\n".join(["time,pump,level", *lines, "broken"]) + "\n")
    file = tmp_path / "pumps.yaml"
    file.write_text(
        f"source: {{kind: files, paths: [{records}]}}\n"
        "stream: {format: csv, key: [pump], time: time, numeric: [level]}\nsink: {kind: files}\n"
    )
    return file


def looked(config: Path, capsys: pytest.CaptureFixture[str], *overrides: str, code: int = 0) -> dict[str, Any]:
    words = [f"--set={one}" for one in overrides]
    assert main(["validate", "--config", str(config), "--json", *words]) == code
    return {
        check["what"]: (check["result"], check["detail"]) for check in json.loads(capsys.readouterr().out)["checks"]
    }


def test_what_is_read_is_counted_and_what_is_not_is_told(config: Path, capsys: Any) -> None:
    result, detail = looked(config, capsys)["records"]
    assert result == "look"
    assert detail.startswith(
        "41 records checked: 40 events of 2 streams; not readable: 1 (1 malformed; for example: 3 columns"
    )


@pytest.mark.parametrize(
    ("key", "reason"), [("stream.time=tme", "missing_time"), ('stream.key=["pmp"]', "missing_key")]
)
def test_a_wrong_name_of_time_or_key_is_wrong(config: Path, key: str, reason: str, capsys: Any) -> None:
    result, detail = looked(config, capsys, key, code=ExitCode.INPUT)["records"]
    assert result == "wrong"
    assert f"41 of 41 records could not be read (40 {reason}" in detail


def test_a_wrong_name_of_a_field_is_to_be_looked_at(config: Path, capsys: Any) -> None:
    found = looked(config, capsys, 'stream.numeric=["level", "levle"]')
    assert found["stream.numeric levle"] == ("look", "present in none of 40 events: correct its name, or remove it")
    assert "stream.numeric level" not in found


def test_a_file_without_records_and_one_that_is_newest_first_are_not_called_well(config: Path, capsys: Any) -> None:
    other = config.with_name("other.csv")
    other.write_text("time,pump,level\n")
    paths = f'source.paths=["{other}"]'
    assert looked(config, capsys, paths)["records"] == ("look", "the files hold no records")
    lines = [f"{1772323200 - 60 * n},pump-1,{n % 7}" for n in range(40)]
    other.write_text("\n".join(["time,pump,level", *lines]) + "\n")
    result, detail = looked(config, capsys, paths, code=ExitCode.INPUT)["records"]
    assert result == "wrong"
    assert detail.startswith("39 of 40 events are older than an earlier one of their stream")


def test_times_of_another_unit_are_to_be_looked_at(config: Path, capsys: Any) -> None:
    assert looked(config, capsys, "stream.time_unit=ms")["stream.time"][0] == "look"


def test_people_read_the_same(config: Path, capsys: Any) -> None:
    assert main(["validate", "--config", str(config)]) == ExitCode.OK
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("# records")]
    assert yaml.safe_load(out)["stream"]["key"] == ["pump"]
    last = out.splitlines()[-4:]  # the verdict, without the two hundred lines above it
    assert all(line.startswith("# ") for line in last)
    assert line in last
    assert line.split()[2] == "look"


def test_what_is_not_well_is_what_people_read_last(config: Path, capsys: Any) -> None:
    """This also holds where the configuration goes into a file."""
    assert main(["validate", "--config", str(config), "--set", "stream.time=tme"]) == ExitCode.INPUT
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("anomaly-daemon: wrong: records: 41 of 41 records could not be read")
    good = config.with_name("good.csv")
    good.write_text("time,pump,level\n1772323200,pump-1,1\n")
    assert main(["validate", "--config", str(config), "--set", f'source.paths=["{good}"]']) == ExitCode.OK
    assert capsys.readouterr().err == ""


def test_a_mute_window_longer_than_a_stream_is_remembered_is_to_be_looked_at(config: Path, capsys: Any) -> None:
    windows = '[{"name": "a", "start": "2026-12-24", "end": "%s"}]'
    result, detail = looked(config, capsys, "detection.mute=" + windows % "2027-01-02")["detection.mute"]
    assert result == "look"
    assert "limits.idle_stream_seconds" in detail
    assert "detection.mute" not in looked(config, capsys, "detection.mute=" + windows % "2026-12-30")


def test_the_configuration_that_is_printed_delivers_where_it_reads(config: Path, tmp_path: Path, capsys: Any) -> None:
    config.write_text(config.read_text().replace("sink: {kind: files}\n", ""))
    assert main(["validate", "--config", str(config)]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert load(printed).sink.kind == "files"
    assert main(["run", "--config", str(printed), "--set=http.enabled=false"]) == 0


def test_the_configuration_that_is_printed_holds_a_dollar_that_was_meant(config: Path, capsys: Any) -> None:
    text = "a ${HOME} {b}"
    words = ["validate", "--config", str(config), f"--set=stream.labels={json.dumps({'site': text})}"]
    assert main(words) == 0
    config.write_text(capsys.readouterr().out)
    assert load(config).stream.labels == {"site": text}


def test_records_of_one_kind_and_alerts_of_another_are_wrong(config: Path, capsys: Any) -> None:
    result, detail = looked(config, capsys, "sink.kind=kafka", code=ExitCode.CONFIGURATION)["sink.kind"]
    assert (result, detail.partition(":")[0]) == ("wrong", "source.kind is files and sink.kind kafka")


def test_json_holds_a_limit_that_is_infinite_as_a_configuration_takes_it(config: Path, capsys: Any) -> None:
    words = ["validate", "--config", str(config), "--set=limits.idle_stream_seconds=inf"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["configuration"]
    config.write_text(json.dumps(told))
    assert told["limits"]["idle_stream_seconds"] == "inf"
    assert load(config).limits.idle_stream_seconds == float("inf")


@pytest.mark.parametrize(
    ("override", "content", "code", "told"),
    [
        ("stream.format=csv", b"\x1f\x8b\x08", ExitCode.NO_INPUT, "this is gzip"),
        ("stream.format=packed", b"", ExitCode.CONFIGURATION, "stream.format packed is for Kafka messages"),
    ],
)
def test_input_that_cannot_be_opened_is_one_of_the_checks(
    config: Path, override: str, content: bytes, code: ExitCode, told: str, capsys: Any
) -> None:
    config.with_name("pumps.csv").write_bytes(content)
    checks = looked(config, capsys, override, "stream.key=[]", "stream.time=null", code=code)
    assert checks["model.path"][0] == "ok"
    assert checks["records"][0] == "wrong"
    assert told in checks["records"][1]


def test_a_named_pipe_is_not_waited_for(config: Path) -> None:
    pipe = config.with_name("pipe")
    os.mkfifo(pipe)
    words = ["validate", "--config", str(config), f'--set=source.paths=["{pipe}"]']
    subprocess.run(
        [sys.executable, "-m", "anomaly_daemon.cli", *words], check=True, timeout=60, stdout=subprocess.DEVNULL
    )
