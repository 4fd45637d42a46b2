"""Label files in the three formats that people have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anomaly_daemon.errors import ConfigurationError, NoInput
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.report.labels import for_streams, read_labels, within
from anomaly_daemon.report.matching import Window

EXPECTED = Window("press-1", micros("2025-03-03T06:00:00Z"), micros("2025-03-03T08:30:00Z"))


def test_labels_come_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("stream,start,end\npress-1,2025-03-03T06:00:00Z,2025-03-03 08:30:00\n")
    assert read_labels(path) == (EXPECTED,)


def test_a_spreadsheet_begins_its_csv_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfstream,start,end\r\npress-1,2025-03-03T06:00:00Z,2025-03-03 08:30:00\r\n")
    assert read_labels(path) == (EXPECTED,)


def test_windows_of_other_times_than_the_records_cannot_be_found() -> None:
    before, touching, after = Window("a", 1, 9), Window("a", 5, 10), Window("a", 21, 30)
    last = Window("a", 20, 30)
    spans = {"a": [(10, 20)], "b": [(1, 9)]}
    assert within((before, touching, last, after), spans, 0) == (touching, last)
    assert within((before, after), spans, 1) == (before,)
    assert within((Window("b", 1, 9), Window("b", 12, 15)), spans, 0) == (Window("b", 1, 9),)


def test_labels_come_as_a_json_list_and_times_may_be_epoch_seconds(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    rows = [{"stream": "press-1", "start": EXPECTED.start / 1e6, "end": "2025-03-03T09:30:00+01:00"}]
    path.write_text(json.dumps(rows))
    assert read_labels(path) == (EXPECTED,)


def test_labels_come_as_nab_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "combined_windows.json"
    windows = {"press-1": [["2025-03-03 06:00:00.000000", "2025-03-03 08:30:00.000000"]], "quiet.csv": []}
    path.write_text(json.dumps(windows))
    assert read_labels(path) == (EXPECTED,)


def test_a_missing_file_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="nowhere"):
        read_labels(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    "text",
    [
        "stream,begin,end\na,2025-03-03,2025-03-04\n",
        "stream,start,end\na,soon,later\n",
        "stream,start,end\na,2025-03-04,2025-03-03\n",
        "stream,start,end\na,1,1e999\n",
        "stream,start,end\na,1772323200,1772329200000\n",
        "stream,start,end\na,-1e15,1\n",
        "[1, 2]",
        "{",
        "",
        "[" * 100_000,
        "stream,start,end\ncaf\xe9,1,2\n",
    ],
)
def test_what_is_no_label_file_is_refused_with_the_shapes_that_are(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="stream,start,end"):
        read_labels(path)


def test_a_label_names_its_stream_by_key_or_by_the_file_it_came_from() -> None:
    windows = [Window(name, 1, 2) for name in ("machine/7", "aws/cpu_1.csv", "elsewhere.csv")]
    matched, unseen = for_streams(windows, ["cpu_1", "machine/7"])
    assert [window.stream for window in matched] == ["machine/7", "cpu_1"]
    assert unseen == ("elsewhere.csv",)


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\nb", "a\x0cb"])
def test_a_quoted_name_is_kept_whatever_it_holds(tmp_path: Path, name: str) -> None:
    (tmp_path / "labels.csv").write_text(f'stream,start,end\r\n"{name}",1,2\r\n', newline="")
    assert read_labels(tmp_path / "labels.csv") == (Window(name, 1_000_000, 2_000_000),)
