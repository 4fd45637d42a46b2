"""The score file: it has every event, in order, and unknown values do not look like numbers."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from pyarrow import parquet
from report_samples import SCHEMA, START, observations, step

from anomaly_daemon.detection.scores import Status
from anomaly_daemon.errors import UsageError
from anomaly_daemon.report import scores
from anomaly_daemon.report.scores import ScoreFile

FEATURES = ("temperature", "pressure", "mode")
COLUMNS = ["stream", "time", "topic", "partition", "offset", "index", "status", "score", "p_value", "threshold"]
COLUMNS += [f"{head}_{feature}" for head in ("prediction", "reconstruction") for feature in FEATURES]


def write(path: Path) -> None:
    with ScoreFile(path, SCHEMA) as file:
        file(observations(["a", "b"], [0, 1]), step([None, 1e-5]))
        file(observations(["a"], [2], first_offset=2), step([0.25]))


def test_csv_has_every_event_and_leaves_empty_what_was_not_scored(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write(path)
    with path.open() as text:
        rows = list(csv.DictReader(text))
    assert list(rows[0]) == COLUMNS
    assert [(row["stream"], row["offset"], row["status"]) for row in rows] == [
        ("a", "0", "warming"),
        ("b", "1", "scored"),
        ("a", "2", "scored"),
    ]
    assert {rows[0][name] for name in COLUMNS[7:]} == {""}
    assert float(rows[1]["p_value"]) == 1e-5
    assert rows[1]["time"].startswith("2025-03-03 00:01:00")


def test_parquet_has_the_same_with_types(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write(path)
    table = parquet.read_table(path)
    assert table.column_names == COLUMNS
    assert table["score"].to_pylist() == [None, 1.5, 1.5]
    assert table["time"].cast("int64").to_pylist() == [START, START + 60_000_000, START + 120_000_000]
    assert table["reconstruction_mode"].to_pylist() == [None, 6.0, 6.0]


@pytest.mark.parametrize("status", [Status.LATE, Status.DUPLICATE, Status.MISSING, Status.MUTED])
def test_every_reason_for_no_score_has_its_name(tmp_path: Path, status: Status) -> None:
    path = tmp_path / "scores.csv"
    with ScoreFile(path, SCHEMA) as file:
        file(observations(["a"], [0]), step([None], status=status))
    assert status.name.lower() in path.read_text()


def test_rows_are_written_as_they_come_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "ROWS_PER_GROUP", 4)
    path = tmp_path / "scores.parquet"
    with ScoreFile(path, SCHEMA) as file:
        for first in range(0, 12, 2):
            file(observations(["a", "b"], [first, first + 1], first), step([0.5, None]))
    written = parquet.ParquetFile(path)
    assert written.metadata.num_row_groups == 3
    assert written.read()["offset"].to_pylist() == list(range(12))


def test_no_event_at_all_gives_a_table_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with ScoreFile(path, SCHEMA):
        pass
    assert path.read_text().count("\n") == 1


def test_a_p_value_of_zero_stays_zero_and_only_nan_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with ScoreFile(path, SCHEMA) as file:
        file(observations(["a"], [0]), step([0.0]))
    assert parquet.read_table(path)["p_value"].to_pylist() == [0.0]
    assert not math.isnan(parquet.read_table(path)["p_value"][0].as_py())


def test_another_suffix_is_a_usage_error_that_names_the_two(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        ScoreFile(tmp_path / "scores.xlsx", SCHEMA)
