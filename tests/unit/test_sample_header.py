"""The line of column names in a CSV sample: it is found and distinguished from records, and whatever is wrong with it
is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.settings import LimitSettings
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.files import FilesSource
from anomaly_daemon.transport.sample import infer
from anomaly_daemon.transport.sample_notes import misread
from anomaly_daemon.transport.sample_rows import SampleRows, sample_rows

Make = Callable[[int], str]


def plain(n: int) -> str:
    return f"2026-03-01T{n // 60:02}:{n % 60:02}:00,{'ab'[n % 2]},{n}.5"


def sample(head: str, make: Make = plain, encoding: str = "utf-8") -> SampleRows:
    lines = [*head.split("\n"), *map(make, range(100))] if head else list(map(make, range(100)))
    return sample_rows([line.encode(encoding) for line in lines], header=True)


@pytest.mark.parametrize(
    ("head", "make", "left_out"),
    [
        (",ts,id,x", lambda n: f"{n},{plain(n)}", {"column 1": "it has no name"}),
        ("ts,id,x,", lambda n: f"{plain(n)},", {"column 4": "it has no name, and is empty"}),
        (
            "ts,id,x,x",
            lambda n: f"{plain(n)},{n}",
            {"column 4, x": "an earlier column has the same name: rename one to read both"},
        ),
        ("Unnamed: 0,ts,id,x", lambda n: f"{n},{plain(n)}", {"Unnamed: 0": "the number of the row"}),
        ("row,ts,id,x", lambda n: f"{n + 7},{plain(n)}", {"row": "the number of the row"}),
        ("ts,id,x", plain, {}),
    ],
    ids=["a table's index", "a delimiter at the end", "a name twice", "an index named so", "row numbers", "plain"],
)
def test_what_the_header_names_is_read_and_what_it_does_not_is_said(
    head: str, make: Make, left_out: dict[str, str], tmp_path: Path
) -> None:
    path, output = tmp_path / "readings.csv", tmp_path / "out.yaml"
    path.write_text("\n".join([head, *map(make, range(100))]) + "\n")
    assert infer(sample(head, make)).ignored == left_out
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.OK
    assert all(f"# left out: {name}: {why}" in output.read_text() for name, why in left_out.items())
    read = load(output, environment={})
    assert (read.stream.key, read.stream.time, [one.name for one in read.stream.numeric]) == (["id"], "ts", ["x"])
    source = FilesSource([str(path)], read.stream)
    source.subscribe(Resumes(source))
    (batch,) = source.poll(1.0)
    decoded = Decoder(read.stream, LimitSettings()).decode(batch)
    assert (decoded.rejected, len(decoded.observations)) == ((), 100)
    assert decoded.observations.values_ND[:, 0].tolist() == [n + 0.5 for n in range(100)]
    source.close()


class Resumes:
    def __init__(self, source: FilesSource) -> None:
        self.assigned = source.resume
        self.revoked = self.lost = source.pause


@pytest.mark.parametrize(
    ("above", "lines", "change"),
    [
        ("Report: line 4", 1, "line 2 names the columns; remove the line above it: tail -n +2 FILE > NEW"),
        ("Report: line 4,,", 1, "line 2 names the columns; remove the line above it: tail -n +2 FILE > NEW"),
        ("# exported by PLC", 1, "line 2 names the columns; remove the line above it: tail -n +2 FILE > NEW"),
        ("Report\n\nfrom line 4", 3, "line 4 names the columns; remove the 3 lines above it: tail -n +4 FILE > NEW"),
        ("", 1, "line 2 names the columns; remove the line above it: tail -n +2 FILE > NEW"),
    ],
    ids=["a title", "a title with delimiters", "a comment", "three lines", "a blank line"],
)
def test_lines_above_the_names_are_to_go(above: str, lines: int, change: str) -> None:
    found = sample(f"{above}\nts,id,x")
    assert (found.names, found.above, misread(found)) == (("ts", "id", "x"), lines, change)
    other = sample(f"{above}\nts;id;x", lambda n: plain(n).replace(",", ";"))
    assert (other.names, other.above, other.delimiter) == (("ts", "id", "x"), lines, ";")


def test_records_wider_than_the_header_are_told_of_with_what_makes_them_fit() -> None:
    found = misread(sample("ts,id,x", lambda n: f"{plain(n)},"))
    assert found is not None
    assert found.startswith("the first line names 3 columns, and most of the others hold 4: ")
    assert found.endswith("sed '1s/$/,/' FILE > NEW")
    assert misread(sample("ts,id,x", lambda n: f"{plain(n)},,")) == (
        "the first line names 3 columns, and most of the others hold 5"
    )
    assert misread(sample("ts,id,x")) is None


def test_records_over_several_lines_are_told_of() -> None:
    found = misread(sample("ts,id,x", lambda n: f'{plain(n)},"over'))
    assert found == "most lines are no whole records: a double quote is open at their end, and a record is one line"


@pytest.mark.parametrize(
    "make",
    [
        plain,
        lambda n: f"a,,{n}",
        lambda n: f"01.03.2026 08:{n % 60:02};;a",
        lambda n: f"a,{n},5%",
        lambda n: f"x{n % 3}, ,y",
    ],
)
def test_a_file_without_names_has_none(make: Make) -> None:
    found = sample("", make)
    assert found.columns is not None
    assert (len(found.rows), misread(found)) == (100, None)


def test_a_header_of_another_encoding_is_the_cause_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "readings.csv", tmp_path / "out.yaml"
    path.write_bytes("\n".join(["ts,id,Temp. [°C]", *map(plain, range(100))]).encode("latin-1"))
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.NO_INPUT
    assert "the line of column names is not UTF-8: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW" in capsys.readouterr().err
    assert not output.exists()


def test_a_title_is_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "readings.csv", tmp_path / "out.yaml"
    path.write_text("\n".join(["# by PLC", "ts,id,x", *map(plain, range(100))]))
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.NO_INPUT
    assert f"{path}: line 2 names the columns" in capsys.readouterr().err
    assert not output.exists()


def test_rows_among_more_comments_are_no_line_protocol() -> None:
    lines = [b"time,v"] + [
        line for at in range(9) for line in (b"# a note", b"# more", b"2026-03-01T00:00:0%dZ,1" % at)
    ]
    sample = sample_rows(lines, header=True)
    assert (sample.format, len(sample.rows)) == ("csv", 9)
