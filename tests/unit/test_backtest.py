"""`backtest`: files of every kind are read by the daemon's own detection, judged, reported, and written event by event."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet
from same_process import command

from anomaly_daemon import cli
from anomaly_daemon.commands import common
from anomaly_daemon.demo.generator import MONDAY, sensor_records
from anomaly_daemon.demo.sensors import METRICS, Plant
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.report.backtest import over_files
from anomaly_daemon.report.episodes import iso
from anomaly_daemon.settings import Settings, SinkSettings, SourceSettings, StreamSettings

PLANT = Plant(MONDAY, machines=4, days=2.5)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one plant's records as JSON lines, CSV and Parquet, its labels, and configurations."""
    folder = tmp_path_factory.mktemp("recorded")
    generated = sensor_records(1, PLANT, faults=3)
    rows = []
    with (folder / "records.jsonl").open("wb") as lines:
        for record in generated.records:
            if record.value.startswith(b"{") and record.value.endswith(b"}"):
                rows.append(msgspec.json.decode(record.value))
                lines.write(record.value + b"\n")
        lines.write(b"this is no record\n")
    columns = ("machine", "time", *METRICS)
    with (folder / "records.csv").open("w", newline="") as text:
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
    parquet.write_table(
        pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows]), folder / "records.parquet"
    )
    labels = [f"{fault.stream},{iso(fault.start)},{iso(fault.end)}" for fault in generated.faults]
    strange = ["press-99,2025-03-03,2025-03-04", f"{generated.faults[0].stream},2019-03-03,2019-03-04"]
    (folder / "labels.csv").write_text("\n".join(["stream,start,end", *labels, *strange]))
    stream = "stream: {key: [machine], time: time, numeric: [temperature, vibration, pressure, current]"
    (folder / "json.yaml").write_text(f"name: plant\nsource: {{topic: live}}\n{stream}}}\n")
    (folder / "csv.yaml").write_text(f"name: plant\nsource: {{topic: live}}\n{stream}, format: csv}}\n")
    return folder


def run(*arguments: str, code: int = 0) -> str:
    done = command("backtest", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def run_by_itself(*arguments: str) -> str:
    """Run `backtest` as a process, as a person starts it."""
    words = [sys.executable, "-m", "anomaly_daemon.cli", "backtest", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(output: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *episodes, last = [json.loads(line) for line in output.splitlines()]
    assert list(last) == ["summary"]
    return [row["episode"] for row in episodes], last["summary"]


@pytest.fixture(scope="module")
def whole(recorded: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The output of one run with every option that writes something."""
    output = run_by_itself(
        *("--config", str(recorded / "json.yaml"), str(recorded / "records.jsonl"), "--json"),
        *("--labels", str(recorded / "labels.csv"), "--tolerance", "3600"),
        *("--report", str(recorded / "report.html"), "--scores", str(recorded / "scores.parquet")),
    )
    return objects(output)


def test_the_summary_counts_every_event_and_judges_the_labels(whole: Any, recorded: Path) -> None:
    episodes, summary = whole
    lines = (recorded / "records.jsonl").read_bytes().count(b"\n")
    assert summary["events"] + summary["rejected"] == lines
    assert sum(summary["by_status"].values()) == summary["events"]
    assert (summary["rejected"], summary["streams"]) == (1, 4)
    assert len(episodes) == summary["episodes"] > 0
    assert summary["alarms_per_stream_per_day"]["budget"] == 1.0
    labels = summary["labels"]
    assert (labels["windows"], labels["streams_not_seen"]) == (3, ["press-99"])
    assert labels["windows_of_other_times"] == 1
    assert labels["found"] == round(labels["recall"] * 3) > 0
    assert set(episodes[0]) >= {"stream", "kind", "opened", "end", "severity", "feature", "actual", "expected"}


def test_the_score_file_has_a_row_for_every_event(whole: Any, recorded: Path) -> None:
    _episodes, summary = whole
    table = parquet.read_table(recorded / "scores.parquet")
    assert table.num_rows == summary["events"]
    statuses = table["status"].to_pylist()
    assert statuses.count("scored") == summary["by_status"]["scored"]
    scores = dict(zip(range(table.num_rows), table["score"].to_pylist(), strict=True))
    assert all(scores[row] is None for row, status in enumerate(statuses) if status in ("late", "duplicate", "missing"))
    assert all(scores[row] is not None for row, status in enumerate(statuses) if status == "scored")


def test_the_report_shows_every_stream_and_label(whole: Any, recorded: Path) -> None:
    text = (recorded / "report.html").read_text()
    assert text.count("<svg") == 4
    assert "press-99" in text
    assert "<h2>Labels" in text


def test_csv_and_parquet_give_the_episodes_that_json_lines_give(whole: Any, recorded: Path) -> None:
    episodes, summary = whole
    for config, name in (("csv.yaml", "records.csv"), ("json.yaml", "records.parquet")):
        others, other = objects(run("--config", str(recorded / config), str(recorded / name), "--json"))
        key = ("stream", "kind", "opened", "end")
        assert [[row[part] for part in key] for row in others] == [[row[part] for part in key] for row in episodes]
        assert other["by_status"] == summary["by_status"]
        assert other["labels"] is None


def test_without_json_a_person_reads_episodes_and_totals(recorded: Path) -> None:
    output = run("--config", str(recorded / "json.yaml"), str(recorded / "records.jsonl"))
    assert "  open   press-" in output
    assert "pattern alarms per stream and day" in output
    assert "unreadable: 1" in output


def test_a_field_that_no_event_holds_is_told_of(recorded: Path) -> None:
    fields = 'stream.numeric=["temperature", "presure", "machine"]'
    output = run("--config", str(recorded / "json.yaml"), str(recorded / "records.jsonl"), "--set", fields)
    events = int(output.partition(" events of")[0].rpartition("\n")[2].replace(",", ""))
    assert f"stream.numeric presure: present in none of {events:,} events" in output
    assert f"stream.numeric machine: never a number in {events:,} events, {events:,} times of another type" in output
    assert "temperature:" not in output


def test_records_that_the_configuration_does_not_read_are_no_good_end(recorded: Path, tmp_path: Path) -> None:
    output = run("--config", str(recorded / "json.yaml"), str(recorded / "records.jsonl"))
    assert "unreadable: 1 (1 malformed; for example: " in output
    asked = ("--config", str(recorded / "json.yaml"), str(recorded / "records.jsonl"), "--set", "stream.time=tme")
    error = run(*asked, code=ExitCode.INPUT)
    assert "missing_time" in error
    assert "; for example: " in error
    (tmp_path / "empty.jsonl").write_text("\n")
    error = run("--config", str(recorded / "json.yaml"), str(tmp_path / "empty.jsonl"), code=ExitCode.NO_INPUT)
    assert "there is no record to read in" in error


@pytest.mark.parametrize("option", ["--alerts", "--feedback"])
def test_what_would_make_cases_needs_the_file_that_keeps_them(recorded: Path, option: str) -> None:
    words = ("--config", str(recorded / "json.yaml"), str(recorded / "records.jsonl"), option, "said.jsonl")
    assert f"{option}: only used with --gate CASES" in run(*words, code=ExitCode.USAGE)


def test_an_override_without_a_value_is_a_wrong_command_line(recorded: Path) -> None:
    error = run("--config", str(recorded / "json.yaml"), "--set", "nonsense", code=ExitCode.USAGE)
    assert "--set nonsense: write it as section.key=value" in error


def test_the_files_to_replay_must_be_named(recorded: Path) -> None:
    error = run("--config", str(recorded / "json.yaml"), code=ExitCode.USAGE)
    assert "name the recorded files" in error


def test_a_file_that_is_not_there_is_no_input(recorded: Path) -> None:
    assert "nowhere.jsonl" in run("--config", str(recorded / "json.yaml"), "nowhere.jsonl", code=ExitCode.NO_INPUT)


def test_a_production_configuration_replays_alone() -> None:
    settings = Settings(
        source=SourceSettings(topic="live"), stream=StreamSettings(numeric=["a"]), sink=SinkSettings(kind="kafka")
    )
    alone = over_files(settings, ["a.csv", "b.csv"])
    assert (alone.source.kind, alone.source.paths) == ("files", ["a.csv", "b.csv"])
    assert alone.snapshot.path is None
    assert not alone.http.enabled
    assert alone.detection == settings.detection


def test_the_command_line_knows_every_option() -> None:
    arguments = ["backtest", "-c", "a.yaml", "x.csv", "--labels", "l.csv", "--report", "r.html", "--scores", "s.csv"]
    args = cli.parser(arguments).parse_args(arguments)
    assert (args.files, args.labels, args.report, args.scores) == (
        ["x.csv"],
        Path("l.csv"),
        Path("r.html"),
        Path("s.csv"),
    )


QUIET = ("quic", "background-networking", "component-update", "sync", "gpu")
"""What a browser would do beside showing a page from a file."""


def test_a_browser_draws_the_report(whole: Any, recorded: Path, tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        assert not os.environ.get("CI"), "chromium must be there in CI: .ci/run installs Debian's"
        pytest.skip("no chromium to look at the page with")
    picture = tmp_path / "page.png"
    words = ["chromium", "--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{one}" for one in QUIET)]
    words += ["--window-size=1200,2000", f"--user-data-dir={tmp_path}"]
    page = (recorded / "report.html").as_uri()
    subprocess.run([*words, f"--screenshot={picture}", page], capture_output=True, timeout=90, check=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
    dumped = subprocess.run([*words, "--dump-dom", page], capture_output=True, text=True, timeout=90, check=True)
    assert dumped.stdout.count("<svg") == 4
    assert picture.stat().st_size > 50_000, "a page without plots is smaller"


@pytest.fixture
def hourly(tmp_path: Path) -> Path:
    """A folder with ten hours of one machine, one hour a file, and a single file with all of them beside it."""
    folder = tmp_path / "hourly"
    folder.mkdir()
    rows = [f"{1772323200 + 60 * minute},m-1,{minute % 7}\n" for minute in range(600)]
    for hour in range(10):
        (folder / f"{hour}.csv").write_text("time,machine,a\n" + "".join(rows[60 * hour : 60 * hour + 60]))
    (tmp_path / "whole.csv").write_text("time,machine,a\n" + "".join(rows))
    (tmp_path / "backwards.csv").write_text("time,machine,a\n" + "".join(rows[::-1]))
    stream = "{key: [machine], time: time, time_unit: s, numeric: [a], format: csv}"
    (tmp_path / "c.yaml").write_text(f"name: plant\nsource: {{topic: live}}\nstream: {stream}\n")
    return tmp_path


def scored(folder: Path, *named: str) -> list[list[str]]:
    """Return the rows of the score file: for each event its stream, time, place in its file, status and scores."""
    run("--config", str(folder / "c.yaml"), *named, "--scores", str(folder / "scores.csv"))
    with (folder / "scores.csv").open() as text:
        return list(csv.reader(text))[1:]


def test_files_that_go_on_from_one_another_are_one_input_with_together(hourly: Path) -> None:
    together, whole = scored(hourly, str(hourly / "hourly"), "--together"), scored(hourly, str(hourly / "whole.csv"))
    what = slice(6, None)  # the status and all computed columns
    assert [row[what] for row in together] == [row[what] for row in whole]
    assert [row[2:5] for row in together[59:61]] == [
        [str(hourly / "hourly" / "0.csv"), "0", "60"],
        [str(hourly / "hourly" / "1.csv"), "1", "1"],
    ]


def test_files_that_are_too_short_by_themselves_are_told_of_with_the_way_out(hourly: Path) -> None:
    said = run("--config", str(hourly / "c.yaml"), str(hourly / "hourly" / "*.csv"))
    assert "of 600 events were not scored" in said
    assert "can be read as one input with --together" in said
    assert json.loads(run("--config", str(hourly / "c.yaml"), str(hourly / "hourly"), "--json"))["summary"]["unscored"]
    assert "not scored," not in run("--config", str(hourly / "c.yaml"), str(hourly / "hourly"), "--together")


def test_files_of_a_folder_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["part-2.csv", "part-10.csv", "part-1.csv", "a.csv", "part-1-b.csv"]
    for name in names:
        (tmp_path / name).write_text("x")
    ordered = ["a.csv", "part-1-b.csv", "part-1.csv", "part-2.csv", "part-10.csv"]
    for named in (str(tmp_path), f"{tmp_path}/*.csv"):
        assert [Path(one).name for one in common.files([named])] == ordered


def test_a_folder_or_a_pattern_without_files_is_no_input(hourly: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for named in ("empty", "*.parquet"):
        error = run("--config", str(hourly / "c.yaml"), str(tmp_path / named), code=ExitCode.NO_INPUT)
        assert "no such file" in error


def test_a_file_that_is_newest_first_is_no_good_end(hourly: Path) -> None:
    error = run("--config", str(hourly / "c.yaml"), str(hourly / "backwards.csv"), code=ExitCode.INPUT)
    assert "599 of 600 events are older than an earlier one of their stream" in error
    assert "sort the records by time" in error


@pytest.mark.parametrize(
    ("records", "options"),
    [("records.jsonl", ("--alerts", "-", "--feedback", "-")), ("-", ("--feedback", "-")), ("-", ("--alerts", "-"))],
)
def test_standard_input_is_refused_where_it_would_have_to_be_read_twice(
    recorded: Path, tmp_path: Path, records: str, options: tuple[str, ...]
) -> None:
    named = records if records == "-" else str(recorded / records)
    gate = ("--gate", str(tmp_path / "cases.jsonl"))
    said = run("--config", str(recorded / "json.yaml"), named, *gate, *options, code=ExitCode.USAGE)
    assert 'standard input ("-") can be read only once: name a file' in said
    assert not (tmp_path / "cases.jsonl").exists()


@pytest.mark.parametrize("option", ["--report", "--scores", "--gate"])
@pytest.mark.parametrize("read", ["--config", "--labels", "--alerts", "--feedback"])
def test_no_file_that_is_read_is_written_over(recorded: Path, tmp_path: Path, option: str, read: str) -> None:
    own = tmp_path / "own.csv"
    shutil.copy(recorded / {"--config": "json.yaml", "--labels": "labels.csv"}.get(read, "records.jsonl"), own)
    words = {"--config": str(recorded / "json.yaml"), "--gate": str(tmp_path / "cases.jsonl"), read: str(own)}
    before = own.read_bytes()
    named = [word for pair in (words | {option: str(own)}).items() for word in pair]
    said = run(str(recorded / "records.jsonl"), *named, code=ExitCode.USAGE)
    assert "this file is an input of the command" in said
    assert own.read_bytes() == before


def test_a_stream_that_its_label_names_by_a_file_is_always_traced(recorded: Path, tmp_path: Path) -> None:
    from anomaly_daemon.report import trace

    (tmp_path / "labels.json").write_text('[{"stream": "plant/press-04.csv", "start": 1741000000, "end": 1741001000}]')
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trace.Tracer.__init__, "__defaults__", ((), 1, trace.POINTS))
        words = ["--config", str(recorded / "json.yaml"), "--labels", str(tmp_path / "labels.json")]
        run(*words, str(recorded / "records.jsonl"), "--report", str(tmp_path / "report.html"))
    assert "<h3>press-04 " in (tmp_path / "report.html").read_text()


def test_a_tolerance_beyond_all_times_is_one(recorded: Path) -> None:
    words = ["--config", str(recorded / "json.yaml"), str(recorded / "records.jsonl"), "--json"]
    found = [
        objects(run(*words, "--labels", str(recorded / "labels.csv"), "--tolerance", many))[1]
        for many in ("1e11", "1e305")
    ]
    assert found[0]["labels"] == found[1]["labels"]
