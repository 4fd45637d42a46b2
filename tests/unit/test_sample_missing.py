"""`init` and values that stand for "missing": they are found, but never in amounts and counts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.settings import LimitSettings
from anomaly_daemon.training.recorded import from_files
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.sample import infer
from anomaly_daemon.transport.sample_missing import KNOWN, missing_values, shown
from anomaly_daemon.transport.sample_notes import notes
from anomaly_daemon.transport.sample_rows import sample_rows
from anomaly_daemon.transport.sample_yaml import written

START = 1_700_000_000
STEADY = [20 + n % 11 / 10 for n in range(200)]
OUTDOORS = [-12 + n % 40 for n in range(200)]


@pytest.mark.parametrize(
    "number", [-9999.0, -999.25, -999.0, -99.99, 9999.0, 32767.0, 65535.0, 1e20, -3.4028234663852886e38]
)
@pytest.mark.parametrize("times", [3, 100])
def test_a_usual_one_that_comes_back_far_from_all_else_is_seen(number: float, times: int) -> None:
    assert missing_values([*STEADY, *[number] * times]) == (number,)


def test_several_are_seen_and_what_float32_makes_of_one_is_it() -> None:
    assert missing_values([*OUTDOORS, *[-9999] * 3, *[9999] * 4, *[1e20] * 5]) == (-9999, 9999, 1e20)
    short = float(np.float32(-99.99))
    assert short != -99.99
    assert missing_values([*STEADY, *[short] * 3]) == (-99.99,)


def test_the_temperature_of_a_winter_may_hold_9999_and_none_that_is_near() -> None:
    assert missing_values([*OUTDOORS, *[9999] * 3]) == (9999,)
    assert missing_values([*OUTDOORS, *[-99.9] * 3]) == ()


RANDOM = random.Random(0)
PRICES = [round(RANDOM.lognormvariate(3, 1), 2) for _ in range(500)]
COUNTS = [int(RANDOM.expovariate(1 / 40)) for _ in range(500)]


@pytest.mark.parametrize(
    "numbers",
    [
        [*STEADY, -9999, -9999],  # two of them may be readings
        [*STEADY, *[-1] * 50],  # also a usual reading
        [*STEADY, *[-9998] * 50],  # not a usual mark
        [*STEADY[:19], *[-9999] * 50],  # too few to know what is usual
        [*[20.0] * 200, *[-9999] * 50],  # the same for values at rest
        [*STEADY, 600, *[-999] * 3],  # less than ten times as far
        [*range(0, 2000, 7), *[999] * 5],  # among the other values
        [*PRICES, *[999, 9999, 99.99] * 5],
        [*[5 + n % 60 for n in range(200)], *[999, 9999] * 5],
        [*COUNTS, *[999, 9999, 32767, 65535] * 5],
        [*[n % 2 for n in range(200)], *[999, 9999] * 5],
        [*[-1.0] * 3, *[0.0] * 5],
        [float("nan"), float("inf")] * 40,
        [],
    ],
)
def test_nothing_else_is(numbers: list[float]) -> None:
    assert missing_values(numbers) == ()


def test_a_vast_number_among_counts_is_none_of_them() -> None:
    assert missing_values([*COUNTS, *[4294967295] * 3]) == (4294967295,)


def test_all_that_are_known_are_written_as_yaml_reads_them(tmp_path: Path) -> None:
    for at in range(0, len(KNOWN), 16):
        told = KNOWN[at : at + 16]
        file = tmp_path / "config.yaml"
        file.write_text(
            f"source: {{topic: a}}\nstream: {{numeric: [b], missing_values: [{', '.join(map(shown, told))}]}}\n"
        )
        assert load(file, environment={}).stream.missing_values == list(told)
    assert [shown(number) for number in (-9999.0, -999.25, 1e20)] == ["-9999", "-999.25", "1.0e+20"]


def json_lines(path: Path, level: Callable[[int], float]) -> None:
    rows = [{"at": START + 60 * n, "level": level(n), "flow": n % 7 / 2} for n in range(400)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def csv_file(path: Path, level: Callable[[int], float]) -> None:
    lines = [f"{START + 60 * n},{level(n)},{n % 7 / 2}" for n in range(400)]
    path.write_text("\n".join(["at,level,flow", *lines]) + "\n")


def parquet(path: Path, level: Callable[[int], float]) -> None:
    columns = {"at": [START + 60 * n for n in range(400)], "flow": [n % 7 / 2 for n in range(400)]}
    pq.write_table(pa.table(columns | {"level": pa.array(map(level, range(400)), pa.float32())}), path)


@pytest.mark.parametrize(("name", "make"), [("a.jsonl", json_lines), ("a.csv", csv_file), ("a.parquet", parquet)])
def test_init_writes_them_down_and_says_so_and_the_daemon_takes_them_for_missing(
    name: str, make: Callable[[Path, Callable[[int], float]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / name, tmp_path / "out.yaml"
    make(path, lambda n: -99.99 if n % 20 == 3 else n % 5 / 10)
    assert main(["init", str(path), "--output", str(output)]) == ExitCode.OK
    said = 'far from all other values, and taken for missing (missing_values): -99.99 in "level"'
    assert said in capsys.readouterr().out
    text = output.read_text()
    assert f"# Look at this first: {said}" in text
    line = "{name: level, missing_values: [-99.99]}  # seen: 0 … 0.4; far from those -99.99 in 5%: taken for missing\n"
    assert line in text
    settings = load(output, environment={})
    (batch,) = from_files(settings, settings.source.paths)
    seen = Decoder(settings.stream, LimitSettings()).decode(batch).observations
    names = [feature.name for feature in settings.stream.numeric]
    assert np.isnan(seen.values_ND).sum(axis=0).tolist() == [20 if name == "level" else 0 for name in names]


def test_in_the_long_shape_each_metric_has_its_own() -> None:
    values = [-9999 if n % 20 == 2 else 10 + n % 7 for n in range(400)]
    lines = [json.dumps({"at": START + n, "metric": "ab"[n % 2], "value": values[n]}).encode() for n in range(400)]
    found = infer(sample_rows(lines, header=True))
    assert [(field.path, field.sentinels) for field in found.numeric] == [("a", (-9999.0,)), ("b", ())]
    assert "{name: a, missing_values: [-9999]}" in written(found, [], "a file")


def test_a_heavy_tail_is_one_of_the_readings_alone() -> None:
    lines = [json.dumps({"at": START + n, "x": 1e20 if n % 9 == 0 else n % 7 + 0.5}).encode() for n in range(400)]
    (field,) = infer(sample_rows(lines, header=True)).numeric
    assert (field.sentinels, field.heavy_tailed(), field.range()) == ((1e20,), False, (0.5, 6.5))
    spread = [-9999 if n % 9 == 0 else 1.2 ** (n % 30) for n in range(400)]
    lines = [json.dumps({"at": START + n, "x": value}).encode() for n, value in enumerate(spread)]
    found = infer(sample_rows(lines, header=True))
    assert "{name: x, transform: log, missing_values: [-9999]}" in written(found, [], "a file")


def test_many_fields_are_told_of_in_one_line() -> None:
    def record(n: int) -> bytes:
        low, high = (-999.25 if n % 20 == 2 else n % 7), (9999 if n % 20 == 2 else 50 + n % 7)
        return json.dumps({"at": START + n} | {f"f{k}": low for k in range(7)} | {"g": high}).encode()

    (note,) = notes(infer(sample_rows([record(n) for n in range(400)], header=True)))
    assert '-999.25 in "f0", "f1", "f2", "f3", "f4" and 2 more; 9999 in "g". If they are readings' in note
