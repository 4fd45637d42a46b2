"""The benchmark's command: tables on the screen, lines in a file, and figures that match the outcomes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled import labels, wave

from benchmarks.quality.__main__ import main
from benchmarks.quality.cache import ROOT, sources_of
from benchmarks.quality.measure import measure, realised
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.series import Series, budget_of, read_set


def write(folder: Path, name: str, count: int, fields: int = 2, faster: int = 1) -> None:
    """Write a set of waves in the layout of the data folder."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        one = wave(f"{fields}-{number}", events=700, fields=fields, start=300, seed=number)
        np.savez(
            folder / name / f"{one.name}.npz",
            X=one.values_ND.astype(np.float32),
            y=one.label_N.astype(np.uint8),
            ts=(one.time_N[0] + (one.time_N - one.time_N[0]) // faster) / 1e6,
            start=one.start,
        )


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *words])
    main()


def test_one_command_gives_the_table_the_lines_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "skab", 2, faster=300)
    lines, drawn = tmp_path / "rows.jsonl", tmp_path / "page.html"
    words = ["--sets", "skab", "--detectors", "anomaly-daemon,random,streamad-knn", "--weekly"]
    run(monkeypatch, "--data", str(tmp_path), *words, "--json", str(lines), "--page", str(drawn))
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    ours = {one["metric"]: one["value"] for one in told if one["detector"] == "anomaly-daemon"}
    assert {"vus_pr", "skab_f1", "skab_far", "skab_mar", "skab_best_f1", "weekly_realised_share"} <= set(ours)
    assert ours["budget_per_day"] == 124  # one in the 699 seconds of a recording
    assert ours["weekly_budget_per_day"] == pytest.approx(124 / 7)
    assert "weekly_realised_share" not in {one["metric"] for one in told if one["detector"] == "random"}
    printed = capsys.readouterr().out
    assert "one field only" in printed
    assert "<svg" in drawn.read_text()


def test_every_set_that_lies_in_the_folder_is_measured_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "turbines", 1, fields=1)
    write(tmp_path, "turbines", 2, fields=3)
    (tmp_path / "turbines" / "notes.npz").write_bytes((tmp_path / "turbines" / "3-0.npz").read_bytes())
    np.savez(tmp_path / "turbines" / "notes.npz", remarks=[1])  # not a series
    write_nab(tmp_path / "metrics")
    (tmp_path / "empty").mkdir()
    lines = tmp_path / "rows.jsonl"
    run(monkeypatch, "--data", str(tmp_path), "--detectors", "streamad-knn,anomaly-daemon,random", "--json", str(lines))
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    figures = {(one["dataset"], one["metric"]): one["value"] for one in told if one["detector"] == "anomaly-daemon"}
    assert {dataset for dataset, _ in figures} == {"turbines", "metrics"}
    assert figures["turbines", "budget_per_day"] == figures["metrics", "budget_per_day"] == 1.0
    assert figures["metrics", "nab_standard"] > 0
    assert ("turbines", "nab_standard") not in figures
    printed = capsys.readouterr().out.split("\nturbines")
    assert "NAB std" in printed[0]
    assert "NAB std" not in printed[1]


def write_nab(folder: Path) -> None:
    """One file in NAB's layout."""
    one = wave(events=700, start=105)
    (folder / "data" / "known").mkdir(parents=True)
    (folder / "labels").mkdir()
    stamps = [str(time)[:19].replace("T", " ") for time in one.time_N.astype("datetime64[us]")]
    rows = [f"{stamp},{value}" for stamp, value in zip(stamps, one.values_ND[:, 0], strict=True)]
    (folder / "data" / "known" / "wave.csv").write_text("\n".join(["timestamp,value", *rows]))
    labelled = [stamps[at] for at in np.flatnonzero(one.label_N)[[0, -1]]]
    (folder / "labels" / "combined_windows.json").write_text(json.dumps({"known/wave.csv": [labelled]}))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sets", "kpj"], "--sets: kpj: there is kpi"),
        (["--data", "nowhere"], "--data nowhere: "),
    ],
)
def test_a_set_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    write(tmp_path, "kpi", 1)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--data", str(tmp_path), *words)
    assert told in capsys.readouterr().err


def test_a_series_that_lacks_something_is_told_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    np.savez(tmp_path / "odd" / "a.npz", X=np.zeros((3, 1)), y=np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npz has no ts, start: a series needs X, y, ts, start"):
        read_set("odd", tmp_path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"X": np.zeros((2, 3))}, r"X needs a row.* for each event.*X \(2, 3\)"),  # a transposed one
        ({"X": np.zeros((6, 1))}, "X needs a row"),
        ({"y": np.zeros(4)}, "X needs a row"),
        ({"y": [0.0, np.nan, 1.0]}, "must be known"),
        ({"ts": [1.0, np.nan, 3.0]}, "must be known"),
        ({"ts": np.array(["2024-01-01"] * 3, "datetime64[s]")}, "ts holds no numbers but datetime64"),
        ({"start": -1}, "start is 0 to 3"),
        ({"start": 4}, "start is 0 to 3"),
        ({"X": np.zeros((0, 2)), "y": [], "ts": []}, "X needs a row"),
    ],
)
def test_a_series_whose_parts_do_not_fit_is_told_by_its_file_and_never_rearranged(
    tmp_path: Path, changed: dict[str, object], told: str
) -> None:
    (tmp_path / "odd").mkdir()
    whole = {"X": np.arange(6.0).reshape(3, 2), "y": np.zeros(3), "ts": np.arange(3.0), "start": 1}
    np.savez(tmp_path / "odd" / "a.npz", **whole | changed)
    with pytest.raises(ValueError, match=rf"a\.npz.*({told})"):
        read_set("odd", tmp_path)


def test_damaged_content_of_a_compressed_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "a.npz"
    values = np.arange(600.0).reshape(300, 2) ** 0.5
    np.savez_compressed(path, X=values, y=np.zeros(300), ts=np.arange(300.0), start=1)
    content = bytearray(path.read_bytes())
    content[200:1000] = b"\xff" * 800
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        read_set("set", tmp_path)


def test_a_file_that_is_no_archive_is_told_by_its_name_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "kpi", 1)
    (tmp_path / "kpi" / "half.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(SystemExit):
        run(monkeypatch, "--data", str(tmp_path))
    assert "half.npz cannot be read" in capsys.readouterr().err


def test_a_folder_without_a_set_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "kpi", 1)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--data", str(tmp_path / "kpi"))
    assert "no folder in it holds a set of labelled series" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--page", "--missed"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "kpi", 1)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--data", str(tmp_path), option, str(tmp_path / "none" / "out"))
    said = capsys.readouterr()
    assert f"{option} {tmp_path}/none/out: there is no folder" in said.err
    assert said.out == ""


@pytest.mark.parametrize("words", [("--limit", "0"), ("--limit", "-5"), ("--budget", "0"), ("--jobs", "0")])
def test_a_number_that_means_nothing_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    write(tmp_path, "kpi", 1)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--data", str(tmp_path), *words)
    assert f"argument {words[0]}: a " in capsys.readouterr().err


def nab_file(folder: Path, text: str, windows: str = "[]") -> None:
    for name, content in (("data/a.csv", text), ("labels/combined_windows.json", f'{{"a.csv": {windows}}}')):
        (folder / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "own" / name).write_text(content)


def test_times_of_a_file_in_the_layout_of_nab_may_have_an_offset_and_blank_lines_are_none(tmp_path: Path) -> None:
    rows = "timestamp,value\n2024-01-01 02:00:00+02:00,1\n\n2024-01-01 01:00:00,inf\n2024-01-01 00:30:00,3\n"
    nab_file(tmp_path, rows, '[["2024-01-01T02:30:00+02:00", "2024-01-01 00:30:00"]]')
    (one,) = read_set("own", tmp_path)
    assert (np.diff(one.time_N) / 60e6).tolist() == [30, 30]
    np.testing.assert_array_equal(one.values_ND, [[1], [3], [np.nan]])
    assert one.label_N.tolist() == [False, True, False]


def test_a_line_of_a_file_in_the_layout_of_nab_that_cannot_be_read_is_told_by_its_file(tmp_path: Path) -> None:
    nab_file(tmp_path, "timestamp,value\n2024-01-01 00:00:00,\n")
    with pytest.raises(ValueError, match=r"a\.csv: each line needs a time and a number"):
        read_set("own", tmp_path)


def test_a_set_that_is_cut_before_its_first_window_has_figures_all_the_same(tmp_path: Path) -> None:
    series = [replace(wave(events=300), label_N=np.zeros(300, bool))]
    outcomes = [Outcome(np.arange(300.0), np.zeros(300, bool), np.zeros(300, bool), 1.0)]
    figures = measure("nab", series, outcomes, 1.0)
    assert all(np.isnan(figures[name]) for name in ("vus_pr", "nab_standard", "nab_rows_low_fn"))


def test_a_first_field_without_any_value_has_no_period_and_the_series_its_figures() -> None:
    whole = wave(events=600, fields=2)
    series = [replace(whole, values_ND=np.where([True, False], np.nan, whole.values_ND))]
    outcomes = [Outcome(whole.label_N.astype(float), whole.label_N, whole.label_N, 1.0)]
    assert measure(None, series, outcomes, 1.0)["auc_pr"] == 1.0


def test_a_series_is_read_in_the_order_of_its_times_and_what_is_no_number_is_missing(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    np.savez(tmp_path / "odd" / "a.npz", X=[1.0, np.inf, 3.0], y=[0, 0, 1], ts=[10.0, 30.0, 20.0], start=1)
    np.savez(tmp_path / "odd" / "b.npz", X=np.zeros((1, 2)), y=[0], ts=[10.0], start=0)
    several, one = read_set("odd", tmp_path)
    np.testing.assert_array_equal(several.values_ND, [[1.0], [3.0], [np.nan]])
    np.testing.assert_array_equal(several.label_N, [False, True, False])
    assert (several.interval, one.interval, one.values_ND.shape) == (10.0, 1.0, (1, 2))


def test_a_series_cut_before_its_start_has_nothing_that_counts() -> None:
    long = wave(events=600, start=300)
    assert (long.until(200).start, long.until(400).start, long.until(None).start) == (200, 300, 300)


def test_a_kept_outcome_depends_on_every_module_of_the_daemon() -> None:
    """A module that decides about a score may be anywhere in the package: `regime` and `compiled` were forgotten once."""
    package = set((ROOT / "anomaly_daemon").rglob("*.py"))
    assert package <= set(sources_of("ours")) & set(sources_of("fraud"))
    assert not package & set(sources_of("ewma"))
    assert all(path.is_file() for module in ("ours", "fraud", "ewma") for path in sources_of(module))


def test_a_budget_is_one_a_day_or_one_a_recording_that_is_shorter() -> None:
    long = wave(events=600)
    short = replace(long, time_N=long.time_N[0] + (long.time_N - long.time_N[0]) // 250)
    assert budget_of([long, long, short]) == 1.0
    assert budget_of([short]) == round(86_400 / (599 * 1.2))


def test_an_outcome_that_was_kept_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "kpi", 1, fields=1)
    words = [
        "--data",
        str(tmp_path),
        "--sets",
        "kpi",
        "--detectors",
        "anomaly-daemon",
        "--cache",
        str(tmp_path / "kept"),
    ]
    files = []
    for name in ("first", "second"):
        run(monkeypatch, *words, "--json", str(tmp_path / name))
        files.append((tmp_path / name).read_text())
    assert files[0] == files[1]  # including the seconds
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_what_is_realised_is_told_beside_the_budget_and_over_it() -> None:
    series = wave(events=388, start=100)
    opened_N = labels(388, (50, 50), (120, 120), (260, 260))  # one before the scored part, one in the labelled event
    outcome = Outcome(np.arange(388.0), opened_N, opened_N, 1.0)
    days = (288 - series.label_N.sum()) / 288
    told = realised([series], [outcome], 0.5, "weekly_")
    assert told == {
        "weekly_alarms_per_day": pytest.approx(1 / days),
        "weekly_budget_per_day": 0.5,
        "weekly_realised_share": pytest.approx(2 / days),
    }
    assert measure(None, [series], [outcome], 1.0)["realised_share"] == pytest.approx(1 / days)


def test_what_is_realised_is_of_the_time_that_passed_whatever_the_pace_of_the_events() -> None:
    gap_N = np.where(np.arange(400) % 4 == 0, 3597.0, 1.0)  # four events, one a second, in each hour
    time_N = (1_700_000_000 + np.cumsum(gap_N)).astype(np.int64) * 1_000_000
    series = Series("bursts", np.zeros((400, 1)), time_N, np.zeros(400, bool), 16)
    opened_N = labels(400, (100, 100), (200, 200))
    told = realised([series], [Outcome(np.zeros(400), opened_N, opened_N, 1.0)], 0.5)
    assert told["alarms_per_day"] == pytest.approx(2 / 4, rel=0.02)  # 96 hours
    assert told["realised_share"] == pytest.approx(1, rel=0.02)
