"""The command: tables on the screen, lines in a file, and figures that are those of the outcomes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from labelled import labels, wave

from benchmarks.quality.__main__ import main
from benchmarks.quality.measure import measure, realised
from benchmarks.quality.outcome import Outcome


def write(folder: Path, name: str, count: int, fields: int = 2) -> None:
    """A set of waves, as the data lies."""
    (folder / name).mkdir(parents=True)
    for number in range(count):
        one = wave(f"{number}", events=700, fields=fields, start=300, seed=number)
        np.savez(
            folder / name / f"{number}.npz",
            X=one.values_ND.astype(np.float32),
            y=one.label_N.astype(np.uint8),
            ts=one.time_N / 1e6,
            start=one.start,
        )


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *words])
    main()


def test_one_command_gives_the_table_the_lines_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "skab", 2)
    lines, drawn = tmp_path / "rows.jsonl", tmp_path / "page.html"
    words = ["--sets", "skab", "--detectors", "anomaly-daemon,random,streamad-knn", "--weekly"]
    run(monkeypatch, "--data", str(tmp_path), *words, "--json", str(lines), "--page", str(drawn))
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    ours = {one["metric"]: one["value"] for one in told if one["detector"] == "anomaly-daemon"}
    assert {"vus_pr", "skab_f1", "skab_far", "skab_mar", "skab_best_f1", "weekly_realised_share"} <= set(ours)
    assert ours["budget_per_day"] == 72.0
    assert ours["weekly_budget_per_day"] == pytest.approx(72 / 7)
    assert "weekly_realised_share" not in {one["metric"] for one in told if one["detector"] == "random"}
    printed = capsys.readouterr().out
    assert "one field only" in printed
    assert "<svg" in drawn.read_text()


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
    assert files[0] == files[1]  # the seconds too
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_what_is_realised_is_told_beside_the_budget_and_over_it() -> None:
    series = wave(events=388, start=100)
    opened_N = labels(388, (50, 50), (120, 120), (260, 260))  # one before the scored part, one in the labelled event
    outcome = Outcome(np.arange(388.0), opened_N, opened_N, np.zeros(388), 1.0)
    days = (288 - series.label_N.sum()) / 288
    told = realised([series], [outcome], 0.5, "weekly_")
    assert told == {
        "weekly_alarms_per_day": pytest.approx(1 / days),
        "weekly_budget_per_day": 0.5,
        "weekly_realised_share": pytest.approx(2 / days),
    }
    assert measure("asd", [series], [outcome], 1.0)["realised_share"] == pytest.approx(1 / days)
