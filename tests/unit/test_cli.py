"""The command line: every command has help with an example, and every failure its own exit code."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from anomaly_daemon import cli, errors
from anomaly_daemon.commands import common
from anomaly_daemon.errors import ExitCode

SMALLEST = "source: {kind: files, paths: ['-']}\nsink: {kind: files}\nstream: {numeric: [level]}\n"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Makes `anomaly-daemon standin` call a function."""

    def make(run) -> int:
        module = ModuleType("anomaly_daemon.commands.standin")
        module.HELP, module.EXAMPLE = "stand in", "  anomaly-daemon standin"  # type: ignore[attr-defined]
        module.arguments, module.run = lambda parser: None, run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, "standin"))
        return cli.main(["standin"])

    return make


def raising(error: BaseException):
    def run(args: object) -> int:
        raise error

    return run


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_that_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "example:\n" in shown
    assert f"anomaly-daemon {name}" in shown.split("example:\n")[1]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match(r" {4}\w", line)]
    assert tuple(listed) == cli.COMMANDS


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from anomaly_daemon import cli; cli.parser([]);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'torch', 'numpy', 'pyarrow', 'matplotlib', 'kafka', 'pydantic'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("anomaly-daemon ")


@pytest.mark.parametrize("line", [[], ["nope"], ["validate", "--nope"], ["--nope"]])
def test_a_wrong_command_line_ends_with_usage(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line)
    assert ended.value.code == ExitCode.USAGE
    assert "usage: anomaly-daemon" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["validate", "--config"], ["init"], ["alerts", "--follow", "--file"]])
@pytest.mark.parametrize("path", ["a.csv " * 60, "{here}/file/within"])
def test_a_path_that_no_file_can_have_is_named_and_no_bug(
    words: list[str], path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    named = path.format(here=tmp_path)
    assert cli.main([*words, named]) == ExitCode.NO_INPUT
    shown = capsys.readouterr().err
    assert named in shown
    assert "bug" not in shown


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_fits_a_terminal_but_for_its_examples(name: str, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    text = capsys.readouterr().out.partition("\nexample:")[0]
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    "line",
    [
        "init a.csv --records 0",
        "init a.csv --records -5",
        "init a.csv --records 1e20",
        "backtest a.csv --tolerance nan",
        "backtest a.csv --tolerance inf",
        "backtest a.csv --tolerance -1",
        "demo --seed -1",
        "demo --publish --rate 0",
        "demo --publish --rate nan",
        "demo --publish --partitions 0",
        "plan --events-per-second 0 --streams 1",
    ],
)
def test_a_number_that_makes_no_sense_is_a_usage_error(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    assert ended.value.code == ExitCode.USAGE
    assert "is expected, not" in capsys.readouterr().err


def test_a_configuration_without_its_option_is_told_how(capsys: pytest.CaptureFixture[str]) -> None:
    misspelt = ["validate", "--confg", "pumps.yaml"]
    for line, told in ((["validate", "pumps.yaml"], True), (["validate", "pumps"], False), (misspelt, False)):
        with pytest.raises(SystemExit):
            cli.main(line)
        assert ("named with --config" in capsys.readouterr().err) == told


ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DaemonError)]
EXPECTED = [kind for kind in ERRORS if kind.exit_code is not ExitCode.BUG]


@pytest.mark.parametrize("kind", EXPECTED)
def test_an_expected_failure_is_one_message_and_its_own_code(kind, command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(raising(kind("say what to change"))) == kind.exit_code
    captured = capsys.readouterr()
    assert captured.err == "anomaly-daemon: error: say what to change\n"
    assert captured.out == ""


@pytest.mark.parametrize("error", [KeyError("oops"), errors.DaemonError("the broker said what no release does")])
def test_a_bug_shows_its_traceback_and_ends_with_70(
    error: Exception, command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(raising(error)) == ExitCode.BUG
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "this is a bug" in shown


def test_ctrl_c_ends_with_130(command) -> None:
    assert command(raising(KeyboardInterrupt())) == 130


def test_the_package_itself_can_be_run() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "anomaly_daemon", "plan"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr.startswith("usage: anomaly-daemon plan")


def test_a_command_answers_with_its_own_code(command) -> None:
    assert command(lambda args: ExitCode.TEMPORARY) == 75


@pytest.mark.parametrize("arguments", [["validate", "--schema"], ["alerts", "--file", os.devnull]])
def test_a_reader_that_leaves_early_is_no_error(arguments: list[str]) -> None:
    program = [sys.executable, "-m", "anomaly_daemon.cli", *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert ended.returncode == cli.BROKEN_PIPE
    assert ended.stderr == ""


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    file = tmp_path / "daemon.yaml"
    file.write_text(SMALLEST, encoding="utf-8")
    return file


def test_validate_prints_the_resolved_configuration_as_yaml(configured: Path, capsys) -> None:
    assert cli.main(["validate", "--config", str(configured), "--set", "http.port=1"]) == 0
    shown = capsys.readouterr().out
    assert "# configuration" in shown
    assert yaml.safe_load(shown)["http"]["port"] == 1


def test_validate_answers_a_script_in_json(configured: Path, capsys) -> None:
    assert cli.main(["validate", "--config", str(configured), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert {check["what"] for check in answer["checks"]} == {"configuration", "model.path"}
    assert answer["configuration"]["stream"]["numeric"][0]["name"] == "level"


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["model.path=/nowhere/at/all"], "model.path"),
        (["kafka.security_protocol=SSL", "kafka.ssl_cafile=/nowhere/ca.pem"], "kafka.ssl_cafile"),
        (['source.paths=["/nowhere/in.csv"]'], "source.paths"),
    ],
)
def test_validate_refuses_a_file_that_is_not_there(configured: Path, overrides: list[str], what: str, capsys) -> None:
    settings = [f"--set={text}" for text in overrides]
    code = cli.main(["validate", "--config", str(configured), *settings, "--json"])
    assert code == ExitCode.CONFIGURATION
    wrong = [check for check in json.loads(capsys.readouterr().out)["checks"] if not check["ok"]]
    assert [check["what"] for check in wrong] == [what]
    assert "nowhere" in wrong[0]["detail"]


def test_validate_ends_with_78_when_a_key_is_wrong(configured: Path, capsys) -> None:
    assert cli.main(["validate", "--config", str(configured), "--set", "http.prot=1"]) == ExitCode.CONFIGURATION
    assert "did you mean http.port?" in capsys.readouterr().err


def test_validate_ends_with_69_when_the_broker_is_not_there(configured: Path, capsys) -> None:
    nowhere = ["source.kind=kafka", "sink.kind=kafka", "source.topic=a", "kafka.bootstrap_servers=localhost:1"]
    settings = [f"--set={text}" for text in [*nowhere, "kafka.bootstrap_timeout_seconds=0.5"]]
    code = cli.main(["validate", "--config", str(configured), "--online", "--json", *settings])
    assert code == ExitCode.UNAVAILABLE
    assert "localhost:1" in capsys.readouterr().out


def test_validate_online_has_nothing_to_reach_when_all_is_files(configured: Path) -> None:
    assert cli.main(["validate", "--config", str(configured), "--online"]) == 0


def test_validate_prints_the_schema(capsys) -> None:
    assert cli.main(["validate", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["stream"]


def test_a_table_is_aligned_and_ends_no_line_with_spaces() -> None:
    shown = common.table(["what", "n"], [["long name", "1"], ["x", "22"]])
    assert shown.splitlines() == ["what       n", "---------  -", "long name  1", "x          22"]


def test_progress_is_a_bar_where_somebody_watches(monkeypatch, capsys) -> None:
    monkeypatch.setattr(common, "is_terminal", lambda stream=None: stream is None)
    with common.progress("work", total=2) as advance:
        advance(2, "all done")
    captured = capsys.readouterr()
    assert "work" in captured.err
    assert "all done" in captured.err
    assert captured.out == ""


def test_progress_is_silent_when_nobody_watches(capsys) -> None:
    with common.progress("work", total=2) as advance:
        advance(1)
        advance(1, "half-way")
    assert capsys.readouterr() == ("", "")


def test_a_closed_standard_stream_is_no_bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "alerts.jsonl").write_text("")
    for name, file in (("stdout", str(tmp_path / "alerts.jsonl")), ("stdin", "-"), ("stderr", "-")):
        with monkeypatch.context() as patched:
            patched.setattr(sys, name, None)
            patched.setattr(sys, "stdin", None)
            assert cli.main(["alerts", "--json", "--file", file]) == ExitCode.OK
            for opened in {name, "stdin"}:
                getattr(sys, opened).close()


@pytest.mark.parametrize(("encoding", "text"), [("iso-8859-1", "\\u4e2d"), ("ascii", "\\u4e2d"), ("utf-8", "中")])
def test_output_in_an_encoding_without_a_character_is_still_json_and_no_bug(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str, text: str
) -> None:
    digest = {"schema_version": 1, "digest": {"held_back": 3}, "reason": "中", "published": "2026-01-02T03:05:00Z"}
    (tmp_path / "alerts.jsonl").write_text(json.dumps(digest))
    for options in ([], ["--json"]):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", out)
            assert cli.main(["alerts", *options, "--file", str(tmp_path / "alerts.jsonl")]) == ExitCode.OK
        out.flush()
        written = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
        if options:
            assert json.loads(written) == digest
            assert text in written
        else:
            assert written.rstrip().endswith("中" if encoding == "utf-8" else "?")
