"""Values that the operator names as "missing" are absent, in every format and shape of input."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from codec_batches import APPEND, batch_of, decode

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.detection.observation import Observations, Presence
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.training.recorded import from_files, observations
from anomaly_daemon.transport import packed
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.parquet_rows import ParquetRows
from anomaly_daemon.transport.plain_json import FEW

MARKED = {"numeric": ["a", {"name": "b", "missing_values": [-999.25]}], "missing_values": [-9999]}
PRESENT, ABSENT, WRONG_TYPE, NOT_FINITE = Presence


def seen(values: list[bytes], **given: Any) -> Observations:
    return decode(values, **(MARKED | given)).observations


def presences(observations: Observations) -> list[list[Presence]]:
    """Return the presence of each value of each reading. Values that are not present must be NaN."""
    np.testing.assert_array_equal(np.isnan(observations.values_ND), observations.presence_ND != PRESENT)
    return observations.presence_ND.tolist()


def told(a: float, b: float) -> bytes:
    return json.dumps({"a": a, "b": b}).encode()


@pytest.mark.parametrize("beside", [[], [b'{"a": "text", "b": [1]}'], [b'{"a": 1e400}'], [told(1, 2)] * FEW])
def test_in_json_whatever_else_the_batch_holds(beside: list[bytes]) -> None:
    """Few records, mixed records and many plain records are read by different code."""
    values = [told(1.5, 2), told(-9999, -999.25), told(-9999.0, -9999), told(-999.25, 2), *beside]
    found = seen(values).take(slice(0, 4))
    assert presences(found) == [[PRESENT, PRESENT], [ABSENT, ABSENT], [ABSENT, ABSENT], [PRESENT, PRESENT]]
    assert found.values_ND[3].tolist() == [-999.25, 2.0]


@pytest.mark.parametrize("beside", [b"3,4", b"text,4"])
def test_in_csv_however_the_number_is_written(beside: bytes) -> None:
    values = [b"-9999,-999.25", b"-9.999e3, -999.250 ", b"-999.25,1", beside]
    found = seen(values, format="csv", csv={"columns": ["a", "b"]}).take(slice(0, 3))
    assert presences(found) == [[ABSENT, ABSENT], [ABSENT, ABSENT], [PRESENT, PRESENT]]


def test_a_text_with_an_underscore_is_a_text_and_no_number() -> None:
    values = [b"9_999,9999", b"9999,9_999"]
    found = seen(values, format="csv", csv={"columns": ["a", "b"]}, missing_values=["9_999"])
    assert presences(found) == [[ABSENT, PRESENT], [PRESENT, ABSENT]]


def test_in_csv_with_a_decimal_comma_and_in_quotes_where_numbers_are() -> None:
    csv_ = {"columns": ["a", "b"], "delimiter": ";"}
    assert presences(seen([b"1,5;-999,25"], format="csv", csv=csv_, decimal=",")) == [[PRESENT, ABSENT]]
    assert presences(seen([b'{"a": "-9999", "b": "1.5"}'], text_numbers=True)) == [[ABSENT, PRESENT]]
    assert presences(seen([b'{"a": "-9999", "b": 1.5}'])) == [[WRONG_TYPE, PRESENT]]


@pytest.mark.parametrize("width", [4, 8])
def test_in_packed_messages_of_either_width(width: int) -> None:
    times, values = [APPEND, APPEND + 1, APPEND + 2], [[-9999.0, 1.0], [-99.9, -99.9], [1.0, -999.25]]
    message = packed.encode(times, values, value_bytes=width)
    found = seen([message], format="packed", missing_values=[-9999, -99.9])
    assert presences(found) == [[ABSENT, PRESENT], [ABSENT, ABSENT], [PRESENT, ABSENT]]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_in_parquet_columns_of_either_width(kind: pa.DataType, tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"a": pa.array([-99.9, 1.5], kind), "b": pa.array([2.0, -999.25], kind)}), path)
    values = [value for _, value in ParquetRows(str(path)).read(10, 0.0)]
    assert presences(seen(values, missing_values=[-99.9])) == [[ABSENT, PRESENT], [PRESENT, ABSENT]]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_in_the_long_shape_by_the_metric(form: str) -> None:
    pairs = [("a", -9999), ("a", -999.25), ("b", -999.25), ("b", -9999), ("b", 7)]
    if form == "json":
        values = [json.dumps({"metric": metric, "value": value}).encode() for metric, value in pairs]
    else:
        values = [f"{metric},{value}".encode() for metric, value in pairs]
    found = seen(values, shape="long", format=form, csv={"columns": ["metric", "value"]})
    expected = [[ABSENT, ABSENT], [PRESENT, ABSENT], [ABSENT, ABSENT], [ABSENT, ABSENT], [ABSENT, PRESENT]]
    assert presences(found) == expected
    assert (found.values_ND[1, 0], found.values_ND[4, 1]) == (-999.25, 7.0)


def test_a_number_past_the_magnitude_limit_is_absent_where_it_stands_for_nothing() -> None:
    """The largest float32, written as people write it, stands for NaN in many gridded data sets."""
    largest = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
    values = [told(largest, largest), told(-largest, 1), told(3.4028235e38, 1)]
    found = seen(values, numeric=[{"name": "a", "missing_values": [3.4028235e38]}, "b"])
    assert presences(found) == [[ABSENT, NOT_FINITE], [NOT_FINITE, PRESENT], [ABSENT, PRESENT]]


def test_a_mark_with_a_decimal_comma_is_the_number_that_it_is_read_as() -> None:
    csv_, fields = (
        {"columns": ["a", "b"], "delimiter": ";"},
        [{"name": "a"}, {"name": "b", "missing_values": ["-999,25"]}],
    )
    assert presences(seen([b"1,5;-999,25"], format="csv", csv=csv_, decimal=",", numeric=fields)) == [[PRESENT, ABSENT]]


def test_a_mark_too_small_for_four_bytes_makes_no_zero_absent() -> None:
    least = [{"name": "a", "missing_values": [2.2250738585072014e-308]}, {"name": "b"}]
    found = seen([told(0.0, 1), told(2.2250738585072014e-308, 1)], numeric=least)
    assert presences(found) == [[PRESENT, PRESENT], [ABSENT, PRESENT]]


def test_no_other_value_is_touched() -> None:
    near = np.nextafter(-9999.0, 0.0)
    values = [told(near, -999), told(9999, -99.9), told(-0.0, 0)]
    np.testing.assert_array_equal(seen(values).values_ND, seen(values, missing_values=[]).values_ND)
    assert presences(seen(values, missing_values=[0])) == [[PRESENT, PRESENT], [PRESENT, PRESENT], [ABSENT, ABSENT]]


BAD = {"numeric": ["a", {"name": "b", "missing_values": ["n/b"]}], "missing_values": ["Bad Input", "NaN"]}


@pytest.mark.parametrize("beside", [[], [told(1, 2)] * FEW])
def test_a_text_in_json_that_stands_for_nothing_is_absent_and_another_is_of_the_wrong_type(beside: list[bytes]) -> None:
    values = [b'{"a": "bad input ", "b": "Bad Input"}', b'{"a": "n/b", "b": "n/b"}', b'{"a": true, "b": NaN}']
    found = seen([*values, *beside], **BAD).take(slice(0, 3))
    assert presences(found) == [[ABSENT, ABSENT], [WRONG_TYPE, ABSENT], [WRONG_TYPE, NOT_FINITE]]


def test_a_text_in_csv_and_in_the_long_shape() -> None:
    csv_ = {"columns": ["a", "b"]}
    found = seen([b"Bad Input,1", b"n/b,n/b", b"nan,inf"], format="csv", csv=csv_, **BAD)
    assert presences(found) == [[ABSENT, PRESENT], [WRONG_TYPE, ABSENT], [ABSENT, NOT_FINITE]]
    long = [b"a,Bad Input", b"a,n/b", b"b,n/b"]
    found = seen(long, format="csv", shape="long", csv={"columns": ["metric", "value"]}, **BAD)
    assert presences(found) == [[ABSENT, ABSENT], [WRONG_TYPE, ABSENT], [ABSENT, ABSENT]]


def test_a_text_stands_for_nothing_in_quoted_numbers_too() -> None:
    assert presences(seen([b'{"a": "Bad Input", "b": "1.5"}'], text_numbers=True, **BAD)) == [[ABSENT, PRESENT]]


def test_without_any_the_readings_are_what_they_were() -> None:
    values = [told(-9999, -999.25)] * FEW + [b'{"a": "Bad Input"}']
    assert presences(decode(values, numeric=["a", "b"]).observations) == [[PRESENT, PRESENT]] * FEW + [
        [WRONG_TYPE, ABSENT]
    ]


def test_the_schema_of_the_detector_knows_nothing_of_it() -> None:
    assert StreamSettings(**MARKED).schema_() == StreamSettings(numeric=["a", "b"]).schema_()  # type: ignore[arg-type]
    (field, _) = StreamSettings(**MARKED).schema_().numeric
    assert not hasattr(field, "missing_values")


def test_decoders_of_one_batch_agree_whatever_comes_beside_it() -> None:
    stream = StreamSettings(**MARKED)  # type: ignore[arg-type]
    whole = Decoder(stream, LimitSettings()).decode(batch_of([told(-9999, n) for n in range(FEW)])).observations
    ones = [seen([told(-9999, n)]).values_ND for n in range(FEW)]
    np.testing.assert_array_equal(whole.values_ND, np.concatenate(ones))


FIELD = 'stream.numeric=[{"name": "level", "missing_values": [-9999]}, "flow"]'
STREAM = "stream.missing_values=[-9999]"


def plant(folder: Path, nothing: str) -> Path:
    """Write the configuration of a CSV file in which a sensor has no value now and then, and none at the end."""
    rows = [f"{20 + n * 7 % 11 / 10}" if n % 40 != 7 and n < 800 else nothing for n in range(900)]
    lines = [f"{1_772_323_200 + 60 * n},{level},{n * 5 % 7}" for n, level in enumerate(rows)]
    (folder / "plant.csv").write_text("\n".join(["time,level,flow", *lines]) + "\n")
    (folder / "plant.yaml").write_text(
        f"source: {{kind: files, paths: [{folder / 'plant.csv'}]}}\n"
        "stream: {format: csv, time: time, numeric: [level, flow]}\nsink: {kind: files}\n"
    )
    return folder / "plant.yaml"


def judged(config: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[str, list[str]]:
    """Return the scores that `backtest` writes for each event, and the kinds of its episodes."""
    command = ["backtest", "--config", str(config), "--json", *(f"--set={one}" for one in overrides)]
    out = config.with_name("scores.csv")
    assert main([*command, "--scores", str(out)]) == ExitCode.OK
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return out.read_text(), [one["episode"]["kind"] for one in told if "episode" in one]


def test_the_detector_sees_no_such_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with such values is judged, to the last bit, as one whose fields are empty there. A field that has
    vanished is reported."""
    taken, kinds = judged(plant(tmp_path, "-9999"), capsys)
    assert "schema" not in kinds
    marked = [judged(plant(tmp_path, "-9999"), capsys, one) for one in (FIELD, STREAM)]
    empty = judged(plant(tmp_path, ""), capsys)
    assert marked == [empty, empty]
    assert "schema" in empty[1]
    assert taken != empty[0]


def test_training_reads_as_the_daemon_does(tmp_path: Path) -> None:
    settings = load(plant(tmp_path, "-9999"), [STREAM], {})
    read = list(observations(settings, from_files(settings, settings.source.paths)))
    assert sum(int((one.presence_ND[:, 0] == ABSENT).sum()) for one in read) == 120
    assert all(not (one.values_ND == -9999).any() for one in read)
