"""InfluxDB line protocol (`stream.format: influx`)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from codec_batches import decode, reasons
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.settings import LimitSettings
from anomaly_daemon.transport.influx_lines import records_of_lines
from anomaly_daemon.transport.rejection import Reason, Unreadable


def test_a_line_of_telegraf() -> None:
    line = b"cpu,host=h1,cpu=cpu-total usage_user=3.1,usage_idle=90,boots=2i,ok=true 1772323200000000000"
    assert list(records_of_lines(line)) == [
        {
            "name": "cpu",
            "tags": {"host": "h1", "cpu": "cpu-total"},
            "fields": {"usage_user": 3.1, "usage_idle": 90.0, "boots": 2, "ok": True},
            "timestamp": 1_772_323_200_000_000_000,
            "series": "cpu,cpu=cpu-total,host=h1",
        }
    ]


@pytest.mark.parametrize(
    ("line", "name", "tags", "fields", "timestamp"),
    [
        (r"my\ cpu\,1=x,a\ b=c\,d\=e f=1", "my cpu,1=x", {"a b": "c,d=e"}, {"f": 1.0}, None),
        (r'm a\=b="x, y=z \"q\" \\",c=2u 5', "m", {}, {"a=b": 'x, y=z "q" \\', "c": 2}, 5),
        (r"m\x,t=C:\dir f=-.5e-3 -7", r"m\x", {"t": r"C:\dir"}, {"f": -0.0005}, -7),
        ('m f="two\nlines",g=F', "m", {}, {"f": "two\nlines", "g": False}, None),
        ("m  f=1.  9 ", "m", {}, {"f": 1.0}, 9),
        ("m f=1 9\r\n", "m", {}, {"f": 1.0}, 9),
        ("m f=1i\r\n", "m", {}, {"f": 1}, None),
        ("größe,ort=Köln wert=+1", "größe", {"ort": "Köln"}, {"wert": 1.0}, None),
    ],
)
def test_escapes_and_spaces(line: str, name: str, tags: Any, fields: Any, timestamp: int | None) -> None:
    (record,) = records_of_lines(line.encode())
    assert (record["name"], record["tags"], record["fields"]) == (name, tags, fields)
    assert record["timestamp"] == timestamp


def test_a_byte_order_mark_is_no_part_of_a_measurement() -> None:
    (found,) = records_of_lines(b"\xef\xbb\xbfcpu,host=h1 a=1")
    assert (found["name"], found["series"]) == ("cpu", "cpu,host=h1")


def test_several_lines_with_comments_and_empty_lines_between() -> None:
    value = b"\n# a comment\n  m f=1 1\r\n\r\n#\n\nm f=2 2\n"
    assert [record["timestamp"] for record in records_of_lines(value)] == [1, 2]
    assert list(records_of_lines(b"# nothing\n")) == []


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("m f=1 1\nm", "line 2, character 2: a tag"),
        ("m,t f=1", "line 1, character 2: a tag"),
        ("m,t= f=1", "line 1, character 2: a tag"),
        ("m f", "line 1, character 3: a field"),
        ("m f=", "line 1, character 3: a field"),
        ("m f=1,", "line 1, character 7: a field"),
        ("m f=1 x", "line 1, character 6: a comma and a field"),
        ("m f=1 12345678901234567890", "line 1, character 6: a comma"),
        ("m f=nan", "line 1, character 5: a number"),
        ("m f=1_0", "line 1, character 5: a number"),
        ("m f=1..2", "line 1, character 5: a number"),
        ("m f=\u0663", "line 1, character 5: a number"),
        ('m f="open', "line 1, character 3: a field"),
        (",t=1 f=1", "line 1, character 1: a measurement"),
    ],
)
def test_a_faulty_line_is_named(line: str, place: str) -> None:
    with pytest.raises(Unreadable) as caught:
        list(records_of_lines(line.encode()))
    assert caught.value.detail.startswith(place)
    assert caught.value.reason == Reason.MALFORMED


def test_lines_become_events_and_a_message_is_rejected_as_a_whole() -> None:
    cpu, mem = b"cpu,host=h1 user=1.5 1700000000000000000", b"mem,host=h1 used=2i 1700000000000000000"
    settings: dict[str, Any] = {"format": "influx", "key": ["tags.host", "name"], "time": "timestamp"}
    values = [cpu + b"\n" + mem, mem + b"\ncpu", b"cpu,host=h1 user=2", b"\xff"]
    decoded = decode(values, numeric=["fields.user", {"name": "used", "field": "fields.used"}], **settings)
    found = decoded.observations
    assert found.keys == ("h1/cpu", "h1/mem")
    assert found.time_N.tolist() == [1_700_000_000_000_000] * 2
    assert found.index_N.tolist() == [0, 1]
    assert (found.values_ND[0, 0], found.values_ND[1, 1]) == (1.5, 2.0)
    assert found.presence_ND.tolist() == [[0, 1], [1, 0]]
    assert reasons(decoded) == [Reason.MALFORMED, Reason.MISSING_TIME, Reason.BAD_UTF8]


def test_the_number_of_lines_is_limited() -> None:
    limits = LimitSettings(readings_per_record=2)
    decoded = decode([b"m f=1\nm f=2\nm f=3", b"m f=1\nm f=2"], limits, format="influx", numeric=["fields.f"])
    assert (reasons(decoded), len(decoded.observations)) == ([Reason.TOO_MANY_READINGS], 2)


names = st.text(st.characters(blacklist_characters="\n\r\\", blacklist_categories=["Cs"]), min_size=1, max_size=6)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=6)
held = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts


@given(names.filter(lambda name: name[0] not in "# \t"), st.dictionaries(names, names, max_size=3), st.data())
def test_what_is_escaped_comes_back(name: str, tags: dict[str, str], data: st.DataObject) -> None:
    fields = data.draw(st.dictionaries(names, held, min_size=1, max_size=3))
    timestamp = data.draw(st.none() | st.integers(-(10**18), 10**18))
    line = ",".join([_escaped(name, ", "), *(f"{_escaped(tag)}={_escaped(value)}" for tag, value in tags.items())])
    line += " " + ",".join(f"{_escaped(field)}={_written(value)}" for field, value in fields.items())
    line += "" if timestamp is None else f" {timestamp}"
    (record,) = records_of_lines(line.encode())
    assert (record["name"], record["tags"], record["fields"]) == (name, tags, fields)
    assert record["timestamp"] == timestamp


@given(st.binary(max_size=40) | st.text(st.sampled_from('m,t=f1 "\\\n#i'), max_size=30).map(str.encode))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    with suppress(Unreadable):
        assert all(record["fields"] for record in records_of_lines(value))


def _escaped(text: str, letters: str = ",= ") -> str:
    return "".join(f"\\{letter}" if letter in letters else letter for letter in text)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value}i" if type(value) is int else str(value)
