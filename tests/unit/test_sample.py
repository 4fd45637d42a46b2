"""What `init` infers from a sample, one property of the sample at a time."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_daemon.configuration import load
from anomaly_daemon.settings import Settings, StreamSettings, TimeUnit
from anomaly_daemon.transport.sample import Inferred, infer
from anomaly_daemon.transport.sample_notes import notes
from anomaly_daemon.transport.sample_rows import sample_rows
from anomaly_daemon.transport.sample_times import FORMATS
from anomaly_daemon.transport.sample_yaml import written
from anomaly_daemon.transport.times import Times

START = 1_700_000_000


def json_sample(make: Callable[[int], dict[str, Any]], records: int = 400) -> Inferred:
    lines = [json.dumps(make(number)).encode() for number in range(records)]
    return infer(sample_rows(lines, header=True))


def csv_sample(header: str, make: Callable[[int], str], records: int = 400) -> Inferred:
    lines = [header.encode()] * bool(header) + [make(number).encode() for number in range(records)]
    return infer(sample_rows(lines, header=True))


def paths(fields: tuple[Any, ...]) -> list[str]:
    return [field.path for field in fields]


def test_wide_json_of_several_streams() -> None:
    found = json_sample(
        lambda n: {"at": START + n // 4 * 60, "pump": f"p{n % 4}", "in": {"flow": n * 0.5}, "mode": "ab"[n % 2]}
    )
    assert (found.rows.format, found.shape, found.streams, found.cadence_seconds) == ("json", "wide", 4, 60.0)
    assert found.time is not None
    assert (paths(found.key.fields), found.time.field.path, found.time.unit) == (["pump"], "at", TimeUnit.SECONDS)
    assert (paths(found.numeric), paths(found.categorical)) == (["in.flow"], ["mode"])


def unnested(make: Callable[[int], dict[str, Any]]) -> tuple[str | None, list[str], bool]:
    """Return the list that is unnested, the numeric features, and whether a list that is left out is told of."""
    found = json_sample(make)
    return found.rows.unnest, paths(found.numeric), any("stream.unnest" in note for note in notes(found))


def test_a_list_beside_the_measurements_of_a_record_is_not_unnested_where_that_would_lose_or_repeat_them() -> None:
    def ordinary(n: int) -> dict[str, Any]:
        return {"at": START + n * 60, "pump": f"p{n % 3}", "flow": n % 7 / 3}

    assert unnested(lambda n: ordinary(n) | {"alarms": [{"code": 3, "at": START}] * (n % 4)}) == (None, ["flow"], True)
    assert unnested(lambda n: ordinary(n) | {"parts": [{"load": n % 5 / 3}] * 3}) == (None, ["flow"], True)
    assert unnested(lambda n: {"of": ordinary(n), "alarms": [{"id": 1}] * (n % 4)}) == (None, ["of.flow"], True)


@pytest.mark.parametrize("form", ["json", "avro", "protobuf"])
def test_a_list_of_objects_is_told_of_in_every_format_that_can_be_unnested(form: Any) -> None:
    lines = [json.dumps({"at": START + n, "flow": n % 7 / 3, "parts": [{"load": 1}] * 2}).encode() for n in range(400)]
    found = infer(replace(sample_rows(lines, header=True), format=form))
    assert any("stream.unnest" in note for note in notes(found))


def test_a_list_of_readings_is_unnested_whatever_lies_beside_it() -> None:
    def readings(n: int, several: int) -> list[Any]:
        return [{"pump": f"p{k}", "flow": (n + k) % 7 / 3} for k in range(several)]

    around = {"version": 2, "gateway": "g"}
    found = [
        unnested(lambda n: around | {"ts": START + n, "seq": n, "readings": readings(n, 3)}),
        unnested(lambda n: around | {"ts": START + n, "count": n % 4, "readings": readings(n, n % 4)}),
        unnested(lambda n: around | {"ts": START + n, "battery": n % 9 / 2, "readings": readings(n, 2)}),
    ]
    assert [(unnest, told) for unnest, _, told in found] == [("readings", False)] * 3
    assert all("flow" in numeric for _, numeric, _ in found)


def test_csv_with_a_header_and_its_own_delimiter() -> None:
    found = csv_sample("time;temp;note", lambda n: f"2024-01-01T00:{n % 60:02}:00;{n * 0.1};")
    assert (found.rows.format, found.rows.delimiter, found.rows.columns) == ("csv", ";", None)
    assert (found.time and found.time.unit, paths(found.numeric)) == (TimeUnit.ISO, ["temp"])
    assert found.ignored == {"note": "always empty"}


def test_csv_without_a_header_gets_names_to_be_replaced() -> None:
    found = csv_sample("", lambda n: f"2024-01-01T{n // 60:02}:{n % 60:02}:00,{n * 0.1}")
    assert found.rows.columns == ("column_1", "column_2")
    assert len(found.rows.rows) == 400


def test_the_long_shape_is_a_metrics_name_beside_a_value() -> None:
    found = json_sample(
        lambda n: {"ts": START + n, "host": f"h{n % 2}", "metric": ["cpu", "load"][n // 2 % 2], "value": n, "x": 1}
    )
    assert (found.shape, paths(found.numeric), found.streams) == ("long", ["cpu", "load"], 2)
    assert found.metric is not None
    assert found.value is not None
    assert (found.metric.path, found.value.path) == ("metric", "value")
    assert found.cadence_seconds == 4.0


def test_a_value_without_a_metrics_name_is_wide() -> None:
    assert json_sample(lambda n: {"ts": START + n, "value": n}).shape == "wide"


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        (TimeUnit.SECONDS, 1),
        (TimeUnit.MILLISECONDS, 10**3),
        (TimeUnit.MICROSECONDS, 10**6),
        (TimeUnit.NANOSECONDS, 10**9),
    ],
)
def test_the_unit_of_an_epoch_is_told(unit: TimeUnit, scale: int) -> None:
    found = json_sample(lambda n: {"timestamp": (START + n) * scale, "a": 0.5})
    assert (found.time and found.time.unit, found.first, found.last) == (unit, START * 10**6, (START + 399) * 10**6)


def test_numbers_that_only_look_like_times_are_measurements() -> None:
    rng = random.Random(1)
    found = json_sample(lambda n: {"ts": START + n, "memory_bytes": START + rng.randrange(10**6)})
    assert found.time is not None
    assert (found.time.field.path, paths(found.numeric)) == ("ts", ["memory_bytes"])


def test_of_two_times_the_one_that_runs_forward_under_a_telling_name_is_taken() -> None:
    found = json_sample(lambda n: {"born": "2001-02-03", "due": START - n, "created_at": START + n, "a": 0.1})
    assert found.time is not None
    assert found.time.field.path == "created_at"


@pytest.mark.parametrize("name", ["transaction_id", "order_no", "userId"])
def test_running_numbers_are_no_measurements(name: str) -> None:
    found = json_sample(lambda n: {"ts": START + n, name: n, "humid": n % 7 * 3})
    assert paths(found.numeric) == ["humid"]
    assert found.key.fields == ()
    assert name in found.ignored


def test_a_label_is_left_out() -> None:
    found = json_sample(lambda n: {"ts": START + n, "a": 0.5, "is_fraud": n % 2})
    assert "label" in found.ignored["is_fraud"]


def test_booleans_and_codes_are_categories() -> None:
    found = json_sample(lambda n: {"ts": START + n, "online": n % 2 == 0, "state": n % 3, "speed": n % 3})
    assert paths(found.categorical) == ["online", "state"]
    assert paths(found.numeric) == ["speed"]


def test_free_text_and_constants_are_left_out() -> None:
    found = json_sample(lambda n: {"ts": START + n, "a": 1.5, "note": f"text {n}", "version": "1.2b"})
    assert found.ignored == {"note": "400 different texts", "version": "always the same"}


def test_heavy_tailed_amounts_get_a_logarithm_and_temperatures_do_not() -> None:
    rng = random.Random(1)
    found = json_sample(
        lambda n: {
            "ts": START + n,
            "amount": rng.lognormvariate(3, 1.4),
            "temp": rng.gauss(20, 5),
            "balance": rng.lognormvariate(3, 1.4) - 5,
        }
    )
    assert {field.path: field.heavy_tailed() for field in found.numeric} == {
        "amount": True,
        "temp": False,
        "balance": False,
    }


def test_missing_values_are_a_share_of_the_records() -> None:
    found = json_sample(lambda n: {"ts": START + n, "a": None if n % 4 == 0 else 1.5})
    assert found.numeric[0].missing_share == 0.25
    assert "1.5 … 1.5, never another value, missing in 25%" in written(found, [], "x")


def test_record_keys_stay_beside_their_rows_when_others_cannot_be_read() -> None:
    values = [b"{", *[json.dumps({"ts": START + n, "host": f"h{n}", "a": n}).encode() for n in range(8)], b" "]
    found = infer(sample_rows(values, header=False, keys=["bad", *("ab" * 4), "blank"]))
    assert (found.key.fields, found.streams, found.cadence_seconds, found.rows.unreadable) == ((), 2, 2.0, 1)


def test_packed_messages_and_schema_registry_prefixes_are_recognised() -> None:
    assert sample_rows([b"ADPK\x01", b"ADPK\x01"], header=False).format == "packed"
    assert sample_rows([b'\x00\x00\x00\x00\x01{"a": 1}'], header=False).rows == [{"a": 1}]


def loaded(text: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    path = tmp_path_factory.mktemp("init") / "written.yaml"
    path.write_text("source: {kind: files, paths: [x]}\n" + text, encoding="utf-8")
    return load(path, environment={})


names = st.text(min_size=1, max_size=8).filter(str.strip)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
records = st.lists(st.dictionaries(names, leaves | st.dictionaries(names, leaves, max_size=2), max_size=4), max_size=12)


@given(records, st.booleans())
@settings(deadline=None)
def test_whatever_was_sampled_the_written_configuration_loads(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, Any]], header: bool
) -> None:
    found = infer(sample_rows([json.dumps(record).encode() for record in drawn], header=header))
    if not found.numeric and not found.categorical:
        return
    stream = loaded(written(found, [], "a\nfile"), tmp_path_factory).stream
    assert [feature.name for feature in stream.numeric] == paths(found.numeric)
    assert stream.categorical == paths(found.categorical)
    assert stream.time == (found.time.field.path if found.time else None)


@given(st.lists(st.binary(max_size=30), max_size=8), st.booleans())
@settings(deadline=None)
def test_no_bytes_upset_the_sampling(values: list[bytes], header: bool) -> None:
    found = infer(sample_rows(values, header=header))
    stream = yaml.safe_load(written(found, [], "x"))["stream"]
    assert [one if isinstance(one, str) else one["name"] for one in stream["numeric"]] == paths(found.numeric)


def test_numbers_in_quotes_are_numbers_and_names_of_digits_are_none() -> None:
    found = json_sample(
        lambda n: {
            "at": START + n,
            "host": f"{10 + n % 3}",
            "cpu": str(n / 7),
            "bytes": str(n * 1000),
            "status": ["200", "404"][n % 2],
            "zip": f"{n % 90:05}",
        }
    )
    assert (paths(found.numeric), found.quoted) == (["cpu", "bytes"], ["cpu", "bytes"])
    assert paths(found.categorical) == ["status"]
    assert paths(found.key.fields) == ["host"]
    text = written(found, [], "a file")
    assert "  text_numbers: true  # numbers in quotes: cpu, bytes\n" in text


def test_a_long_shapes_values_may_stand_in_quotes() -> None:
    found = json_sample(lambda n: {"at": START + n, "metric": "ab"[n % 2], "value": str(n / 7)})
    assert (found.shape, paths(found.numeric), found.quoted) == ("long", ["a", "b"], ["value"])


def test_a_decimal_comma_is_seen_and_commas_between_columns_are_none() -> None:
    found = csv_sample("time;temp;load", lambda n: f"2024-01-01T00:{n % 60:02}:00;{n},5;{n}")
    assert (found.rows.decimal, paths(found.numeric)) == (",", ["temp", "load"])
    assert found.numeric[0].range() == (0.5, 399.5)
    assert '  decimal: ","' in written(found, [], "a file")
    assert csv_sample("time,a,b", lambda n: f"{START + n},{n},{n}").rows.decimal == "."
    assert csv_sample("time;a", lambda n: f"{START + n};{n}.5").rows.decimal == "."


def test_where_fractions_have_a_comma_a_text_with_a_point_is_no_number() -> None:
    """The daemon does not read it as one, since the point may be a thousands separator."""
    found = csv_sample(
        "time;temp;load;flow;made;size",
        lambda n: f"{START + n}.5;{n},5;{n},25;{n % 9},1;{n}.125;{'1.5' if n % 50 < 25 else '2.5'}",
    )
    assert (found.rows.decimal, paths(found.numeric)) == (",", ["temp", "load", "flow"])
    assert found.time is not None
    assert found.time.unit == TimeUnit.SECONDS
    assert found.ignored["made"].startswith("numbers with a point, such as")
    assert paths(found.categorical) == ["size"]
    text = written(found, [], "a file")
    assert '# left out: made: numbers with a point, such as "0.125", are not read' in text
    assert "- size  # seen: 2 values, such as 1.5, 2.5\n" in text


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_commas_before_fractions_are_no_delimiter_though_as_many_as_there_are_others(mark: str) -> None:
    found = csv_sample("", lambda n: mark.join([f"{START + n}", f"2{n % 10},{n:03}", f"5,{n % 7}1"]))
    assert (found.rows.delimiter, found.rows.decimal, len(found.numeric)) == (mark, ",", 2)
    assert csv_sample("", lambda n: f"{START + n},{n}.5").rows.delimiter == ","
    assert csv_sample("level", lambda n: f"{n}.5").rows.delimiter == ","


@pytest.mark.parametrize("header", ["t;x", ""])
def test_a_decimal_comma_may_have_a_power_of_ten_behind_it(header: str) -> None:
    found = csv_sample(header, lambda n: f"{START + 60 * n:.15e};{n % 7:.6E}".replace(".", ","))
    assert (found.rows.decimal, found.time and found.time.unit) == (",", TimeUnit.SECONDS)
    assert [field.range() for field in found.numeric] == [(0.0, 6.0)]


@pytest.mark.filterwarnings("error")
def test_numbers_near_the_largest_are_looked_at_without_a_warning() -> None:
    found = csv_sample("time,kind,x", lambda n: f"{START + n},{'ab'[n % 2]},{(-1) ** n * 1.7e308}")
    assert found.numeric[0].range() == (-1.7e308, 1.7e308)


def test_a_header_in_the_middle_is_no_record() -> None:
    found = csv_sample("time,pump,x", lambda n: "time,pump,x" if n % 50 == 9 else f"{START + n},p{n % 2},{n % 7}.5")
    assert (found.streams, len(found.rows.rows), found.rows.unreadable) == (2, 392, 8)


def test_lines_that_are_mostly_objects_are_json_though_others_stand_between() -> None:
    lines = [b"starting up" if n % 3 == 0 else b'{"time": %d, "x": %d.5}' % (START + n, n % 7) for n in range(300)]
    rows = sample_rows(lines, header=True)
    assert (rows.format, len(rows.rows), rows.unreadable) == ("json", 200, 100)


def test_an_epoch_in_scientific_notation_is_a_time() -> None:
    found = csv_sample("t,x", lambda n: f"{START + 60 * n:.18e},{n % 7:.18e}")
    assert found.time is not None
    assert (found.time.unit, found.cadence_seconds) == (TimeUnit.SECONDS, 60.0)


def test_an_epoch_that_runs_is_a_time_whatever_it_is_called_and_one_that_stands_still_is_none() -> None:
    for name in ("Zeit", "t_epoch", "moment"):
        found = csv_sample(f"{name},a", lambda n: f"{START + n / 10},{n % 7}.5")
        assert found.time is not None, name
        assert (found.time.field.path, found.time.unit, paths(found.numeric)) == (name, TimeUnit.SECONDS, ["a"])
    assert csv_sample("size,a", lambda n: f"{START},{n % 7}.5").time is None
    assert csv_sample("size,a", lambda n: f"{START + n * 7919 % 10007},{n % 7}.5").time is None


def test_a_field_that_repeats_the_records_key_is_no_feature() -> None:
    lines = [json.dumps({"at": START + n, "pump": f"p{n % 4}", "a": n * 0.5}).encode() for n in range(40)]
    found = infer(sample_rows(lines, header=False, keys=[f"p{n % 4}" for n in range(40)]))
    assert (found.key.fields, found.categorical) == ((), ())
    assert found.ignored["pump"] == "the same as the record's key"


@pytest.mark.parametrize(
    "form",
    ["%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y%m%d%H%M%S"],
)
def test_dates_of_other_forms_are_recognised_and_day_and_month_told_apart_by_running_forward(form: str) -> None:
    began = datetime(2026, 3, 1)
    found = csv_sample("Datum,temp", lambda n: f"{(began + timedelta(minutes=20 * n)).strftime(form)},{n % 7}.5")
    assert found.time is not None
    assert (found.time.field.path, found.time.unit, found.time.form) == ("Datum", TimeUnit.ISO, form)
    assert (found.cadence_seconds, paths(found.numeric)) == (1200.0, ["temp"])
    assert f'  time_format: "{form}"' in written(found, [], "a file")


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("%d.%m.%y %H:%M", ""),
        ("%d.%m.%Y", ""),
        ("%Y-%m-%d %H:%M:%S UTC", "; read in stream.timezone, which must stay UTC"),
        ("%Y-%m-%dT%H:%M:%S.%f GMT", "; read in stream.timezone, which must stay UTC"),
    ],
)
def test_years_of_two_digits_bare_days_and_the_name_of_utc_are_recognised(form: str, says: str) -> None:
    began = datetime(2026, 3, 1)
    found = csv_sample("Datum;temp", lambda n: f"{(began + timedelta(days=n)).strftime(form)};{n % 7}.5")
    assert found.time is not None
    assert (found.time.form, found.cadence_seconds) == (form, 86_400.0)
    line = next(line for line in written(found, [], "x").splitlines() if "time_format" in line)
    assert line.startswith(f'  time_format: "{form}"')
    assert line.endswith(says)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("13-03-2026 08:{:02}:00", "%d-%m-%Y %H:%M:%S"),
        ("03-13-2026 08:{:02}", "%m-%d-%Y %H:%M"),
        ("13 Mar 2026 08:{:02}:00", "%d %b %Y %H:%M:%S"),
        ("3/13/2026, 8:{:02}:00 AM", "%m/%d/%Y, %I:%M:%S %p"),
        ("13.3.2026, 08:{:02}:00", "%d.%m.%Y, %H:%M:%S"),
        ("Fri, 13 Mar 2026 08:{:02}:00 GMT", "%a, %d %b %Y %H:%M:%S GMT"),
        ("Fri, 13 Mar 2026 08:{:02}:00 +0100", "%a, %d %b %Y %H:%M:%S %z"),
    ],
)
def test_times_as_mails_and_browsers_write_them_are_recognised(text: str, form: str) -> None:
    found = csv_sample("time;x", lambda n: f"{text.format(n)};{n % 7}", 60)
    assert (found.time and found.time.form, found.cadence_seconds) == (form, 60.0)


@pytest.mark.parametrize("form", FORMATS)
def test_whatever_form_init_may_write_the_settings_take_and_the_decoder_reads(form: str) -> None:
    moment = datetime(2026, 3, 1, 13, 45, 59, tzinfo=UTC)
    stream = StreamSettings(time="t", time_unit="iso", time_format=form, numeric=["a"])
    (time,) = Times(stream.time_unit, stream.timezone, stream.time_format).read([moment.strftime(form)])
    assert datetime.fromtimestamp(int(time) / 1e6, UTC).date() == moment.date()


def test_times_as_web_servers_log_them_are_proposed_with_their_offset(tmp_path_factory: pytest.TempPathFactory) -> None:
    began = datetime(2026, 3, 1)
    found = json_sample(lambda n: {"time": f"{began + timedelta(minutes=n):%d/%b/%Y:%H:%M:%S} +0200", "x": n % 7 + 0.5})
    settings = loaded(written(found, [], "a file"), tmp_path_factory)
    assert settings.stream.time_format == "%d/%b/%Y:%H:%M:%S %z"


@pytest.mark.parametrize(("days", "told"), [(1, True), (40, False)])
def test_where_day_and_month_may_be_either_both_readings_are_told_of(days: int, told: bool) -> None:
    """A sample of one day runs forward and has the same span in either reading. In a sample of forty days one of the
    two readings does not."""
    moments = [datetime(2026, 3, 5) + timedelta(minutes=at * days) for at in range(1000)]
    found = json_sample(lambda at: {"when": moments[at].strftime("%d/%m/%Y %H:%M:%S"), "x": at % 7}, len(moments))
    said = notes(found)
    both = [line for line in said if "%m/%d/%Y %H:%M:%S" in line and "%d/%m/%Y %H:%M:%S" in line]
    assert len(both) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-03-01T08:00:{:02}", True),
        ("2026-03-01 08:00:{:02}.5", True),
        ("01.03.2026 08:00:{:02}", True),
        ("2026-03-01T08:00:{:02}Z", False),
        ("20260301T0800{:02}z", False),
        ("2026-03-01 08:00:{:02}+01:00", False),
        ("2026-03-01T08:00:{:02}-0500", False),
        ("01/Mar/2026:08:00:{:02} +0000", False),
        ("2026-03-01 08:00:{:02} UTC", False),
        ("17723232{:02}", False),
    ],
)
def test_times_without_an_offset_are_told_to_be_read_as_utc(text: str, told: bool) -> None:
    found = csv_sample("time,x", lambda n: f"{text.format(n)},{n % 7}.5", 60)
    assert found.time is not None
    assert ("times have no offset and are read as UTC" in written(found, [], "a file")) == told


def test_a_text_that_never_changes_is_no_time_unless_its_name_says_so() -> None:
    assert csv_sample("version,a", lambda n: f"1.12.24,{n % 7}.5").time is None
    assert csv_sample("date,a", lambda n: f"1.12.24,{n % 7}.5").time is not None


@pytest.mark.parametrize(
    ("header", "make", "path"),
    [
        ("t,x", lambda n: f"{n * 0.5},{n % 7}.5", "t"),
        ("Time [s],x", lambda n: f"{n},{n % 7}.5", "Time [s]"),
        ("Nr,x", lambda n: f"{n},{n % 7}.5", "Nr"),
        ("tick,x", lambda n: f"{n * 250},{n % 7}.5", "tick"),
    ],
)
def test_where_no_field_tells_the_time_one_that_counts_up_is_proposed(
    header: str, make: Callable[[int], str], path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = csv_sample(header, make)
    assert (found.time, found.counter and found.counter.path, paths(found.numeric)) == (None, path, ["x"])
    assert notes(found)[0].startswith(f'"{path}" counts up, from 0 to ')
    text = written(found, [], "x")
    assert f"# left out: {path}: it counts up: see stream.time" in text
    proposed = text.replace("\n  # time: no", "\n  # no").replace("\n  # time", "\n  time")
    stream = loaded(proposed, tmp_path_factory).stream
    assert (stream.time, stream.time_unit) == (path, TimeUnit.SECONDS)


@pytest.mark.parametrize(
    ("header", "make"),
    [
        ("level", lambda n: f"{n}.5"),
        ("energy,x", lambda n: f"{n * n / 7},{n % 7}.5"),
        ("t,x", lambda n: f"{n * 7919 % 10007},{n % 7}.5"),
        ("t,x", lambda n: f"5,{n % 7}.5"),
    ],
    ids=["the only field", "unevenly", "back and forth", "not at all"],
)
def test_what_does_not_count_up_is_measured(header: str, make: Callable[[int], str]) -> None:
    found = csv_sample(header, make)
    assert (found.counter, paths(found.numeric)) == (None, header.split(","))


def test_streams_are_told_apart_by_what_counts_up_where_there_is_no_time() -> None:
    found = csv_sample("t,Ort,x", lambda n: f"{n // 4},{'abcd'[n % 4]},{n % 7}.5")
    assert (paths(found.key.fields), found.streams, found.cadence_seconds) == (["Ort"], 4, None)


def test_days_as_spreadsheets_count_them_are_told_of() -> None:
    found = csv_sample("ts,x", lambda n: f"{46082 + n / 1440:.6f},{n % 7}.5")
    assert (found.time, found.counter, paths(found.numeric)) == (None, None, ["x"])
    assert notes(found) == [f'"ts" is left out: {found.ignored["ts"]}']
    assert "days since 1900" in found.ignored["ts"]


def test_a_day_and_a_clock_in_two_columns_are_told_of_with_the_command_that_joins_them(tmp_path: Path) -> None:
    began, path = datetime(2026, 3, 1, 8), tmp_path / "readings.csv"

    def line(n: int) -> str:
        return f'{n};{(began + timedelta(minutes=n)).strftime("%d.%m.%y;%H:%M")};"a;{n % 2}";{n % 7}.5'

    path.write_text("\n".join(["Nr;Date;Time;id;x", *map(line, range(1000))]))
    found = csv_sample("Nr;Date;Time;id;x", line, 1000)
    assert (found.time and found.time.field.path, found.ignored["Time"]) == (
        "Date",
        "a time of day without the date",
    )
    assert f"# Look at this first: {notes(found)[0]}" in written(found, [], "x")
    assert notes(found)[0].startswith('"Date" holds only the date, and "Time" only the time of day')
    command = notes(found)[0].split("NEW: ")[1].replace("FILE", str(path)).replace("NEW", str(tmp_path / "new.csv"))
    subprocess.run(command, shell=True, check=True)
    joined = infer(sample_rows((tmp_path / "new.csv").read_bytes().splitlines(), header=True))
    assert (joined.time and joined.time.field.path, joined.cadence_seconds) == ("Date Time", 120.0)
    assert (notes(joined), paths(joined.numeric), joined.categorical) == ([], ["x"], ())


def test_a_day_and_a_clock_of_json_are_joined_by_jq_and_a_time_beside_a_clock_needs_nothing() -> None:
    found = json_sample(
        lambda n: {"at": {"day": f"2026-03-0{1 + n // 100}", "clock": f"{n % 24:02}:00"}, "x": n % 7 + 0.5}
    )
    assert """jq -c '. + {day_time: (."at"."day" + " " + ."at"."clock")}' FILE > NEW""" in notes(found)[0]
    whole = json_sample(lambda n: {"ts": START + n, "clock": f"{n % 24:02}:00", "x": n % 7 + 0.5})
    assert (whole.day_and_clock, notes(whole)) == (None, [])
    daily = csv_sample("date,x", lambda n: f"{(datetime(2026, 3, 1) + timedelta(days=n)).date()},{n % 7}.5")
    assert (daily.day_and_clock, notes(daily)) == (None, [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (lambda n: f'"{12000 + n * 7.25:,.2f}"', "numbers with a thousands separator"),
        (lambda n: f'"{n * 7.25:,.2f}"', "numbers with a thousands separator"),
        (lambda n: f'"{12 + n // 100}.{100 + n % 100},5"', "numbers with a thousands separator"),
        (lambda n: f"{12 + n // 100} {100 + n % 100}", "numbers with a thousands separator"),
        (
            lambda n: f"{n / 7:.2f} bar",
            'numbers with a unit ("0.00 bar") are not read: write them without "bar"',
        ),
        (lambda n: f"{n / 7:.1f}%", 'write them without "%"'),
        (lambda n: f"${n / 7:.2f}", 'write them without "$"'),
        (lambda n: f"{n / 7:.1f} °C", 'write them without "°C"'),
        (
            lambda n: "?" if n % 4 == 0 else f"{n / 7:.2f}",
            'numbers, except for texts such as "?" in 25%: leave those empty',
        ),
        (
            lambda n: "?" if n % 4 == 0 else "#N/A" if n % 8 == 1 else f"{n / 7:.2f}",
            'such as "?", "#N/A" in 38%: leave those empty, or make it one of stream.numeric with missing_values: '
            '["?", "#N/A"]',
        ),
        (
            lambda n: f"E{n}" if n % 4 == 0 else f"{n / 7:.2f}",
            'numbers, except for texts such as "E0", "E4", "E8", "E12", "E16" in 25%: leave those empty',
        ),
        (lambda n: f"pump {n}", "400 different texts"),
        (lambda n: f"{n}{'abcd'[n % 4]}", "400 different texts"),
        (lambda n: f"1.{n}.3", "400 different texts"),
    ],
)
def test_numbers_that_cannot_be_read_are_told_from_texts(text: Callable[[int], str], says: str) -> None:
    found = csv_sample("time,a,x", lambda n: f"{START + n},{n % 7}.5,{text(n)}")
    assert paths(found.numeric) == ["a"]
    assert says in found.ignored["x"]
    assert notes(found) == ([] if "different texts" in says else [f'"x" is left out: {found.ignored["x"]}'])


def test_sizes_with_a_unit_of_which_there_are_few_are_a_category() -> None:
    found = csv_sample("time,a,size", lambda n: f"{START + n},{n % 7}.5,{10 * (n * 7919 % 97 % 3)} mm")
    assert paths(found.categorical) == ["size"]


def test_names_of_any_script_stay_as_they_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = json_sample(lambda n: {"時間": START + n, "Temp. [°C]": n % 7 + 0.5, "\x07\u2028": n % 5 + 0.5})
    text = written(found, [], "x")
    assert '    - "Temp. [°C]"' in text
    assert '  time: "時間"' in text
    assert [one.name for one in loaded(text, tmp_path_factory).stream.numeric] == ["Temp. [°C]", "\x07\u2028"]
