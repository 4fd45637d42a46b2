"""Avro values: what each type is read as, and what becomes of values that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codec_batches import APPEND, decode, reasons
from hypothesis import given
from hypothesis import strategies as st

from anomaly_daemon.detection.observation import Presence, category_code
from anomaly_daemon.errors import ConfigurationError, NoInput
from anomaly_daemon.transport.avro_rows import as_json
from tests.registries import Registry, registry, written

READING = {
    "type": "record",
    "name": "Reading",
    "namespace": "plant",
    "fields": [
        {"name": "pump", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "a", "type": ["null", "double"]},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OFF", "ON"]}},
    ],
}
MORNING = 1_767_322_800_000
LATER = 1_767_400_000_000_000


def record(name: str, **fields: Any) -> dict[str, Any]:
    """Return the schema of a record with these fields."""
    return {"type": "record", "name": name, "fields": [{"name": one, "type": kind} for one, kind in fields.items()]}


def reading(**changes: Any) -> dict[str, Any]:
    return {"pump": "p7", "at": MORNING, "a": 2.5, "state": "ON"} | changes


@pytest.fixture
def schemas() -> Iterator[Registry]:
    with registry() as one:
        yield one


def of_registry(schemas: Registry) -> dict[str, Any]:
    return {"format": "avro", "avro": {"registry_url": schemas.url}}


def test_a_record_behind_a_schemas_id_becomes_one_observation(schemas: Registry) -> None:
    number = schemas.register(READING)
    values = [written(READING, reading(), number), written(READING, reading(pump="p8", a=None), number)]
    decoded = decode(values, append=LATER, key=["pump"], time="at", categorical=["state"], **of_registry(schemas))
    seen = decoded.observations
    assert seen.keys == ("p7", "p8")
    assert seen.time_N.tolist() == [MORNING * 1000] * 2
    assert seen.presence_ND.tolist() == [[Presence.PRESENT], [Presence.ABSENT]]
    assert seen.values_ND[0, 0] == 2.5
    assert seen.categories_NC.tolist() == [[category_code("ON")]] * 2
    assert schemas.asked == [f"/schemas/ids/{number}"], "a schema is asked for once"


def test_each_record_is_read_by_the_schema_that_it_was_written_with(schemas: Registry) -> None:
    wider = READING | {"fields": [{"name": "new", "type": "int"}, *READING["fields"]]}
    old, new = schemas.register(READING), schemas.register(wider)
    values = [written(READING, reading(), old), written(wider, reading(a=3.5, new=1), new)]
    assert decode(values, **of_registry(schemas)).observations.values_ND.tolist() == [[2.5], [3.5]]


def field(kind: Any, value: Any) -> bytes:
    return written(record("R", a=kind), {"a": value})


@pytest.fixture
def of_file(tmp_path: Path):
    """Makes the settings by which values of one field `a` of this type are read."""

    def settings(kind: Any) -> dict[str, Any]:
        file = tmp_path / "reading.avsc"
        file.write_text(json.dumps(record("R", a=kind)), encoding="utf-8")
        return {"format": "avro", "avro": {"schema_file": file}}

    return settings


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        ("int", 3, 3.0),
        ("long", 2**40, 2.0**40),
        ("float", 0.5, 0.5),
        ("double", 0.1, 0.1),
        (["null", "double"], 1.5, 1.5),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("12.34"), 12.34),
        ({"type": "long", "logicalType": "timestamp-micros"}, 5, 5.0),
        ({"type": "int", "logicalType": "time-millis"}, 250, 250.0),
    ],
)
def test_a_number_is_a_number_whatever_its_type(of_file, kind: Any, value: Any, number: float) -> None:
    assert decode([_plain(kind, value)], **of_file(kind)).observations.values_ND.tolist() == [[number]]


def _plain(kind: Any, value: Any) -> bytes:
    """Encode the value; where it is an integer and the type a logical one, with the underlying type."""
    if isinstance(kind, dict) and isinstance(value, int):
        kind = kind["type"]
    return field(kind, value)


def decimal(**more: Any) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", **more}


def of_bytes(value: bytes) -> bytes:
    return written(record("R", a="bytes"), {"a": value})


@pytest.mark.parametrize(
    ("precision", "scale", "value", "number"),
    [
        (9, 2, (1234).to_bytes(2, "big"), 12.34),
        (9, 2, (-1234).to_bytes(2, "big", signed=True), -12.34),
        (9, 2, (2**62).to_bytes(8, "big"), 2**62 / 100),
        (38, 0, (2**62).to_bytes(8, "big"), 2.0**62),
        (60, 30, (10**40).to_bytes(20, "big"), 1e10),
        (9, 2, b"", 0.0),
    ],
)
def test_a_decimal_is_the_nearest_number(of_file, precision: int, scale: int, value: bytes, number: float) -> None:
    settings = of_file(decimal(precision=precision, scale=scale))
    assert decode([of_bytes(value)], **settings).observations.values_ND.tolist() == [[number]]


def test_a_decimal_past_all_floats_is_not_finite(of_file) -> None:
    for scale in (0, 2):
        seen = decode([of_bytes(b"\x7f" * 2000)], **of_file(decimal(precision=5000, scale=scale))).observations
        assert seen.presence_ND.tolist() == [[Presence.NOT_FINITE]]


def test_a_decimal_without_a_fraction_names_a_stream_exactly(of_file) -> None:
    """Databases write their numeric keys like this: NUMBER(19)."""
    long = 2**62 + 1
    decoded = decode([of_bytes(long.to_bytes(8, "big"))], key=["a"], **of_file(decimal(precision=19)))
    assert decoded.observations.keys == (str(long),)


@pytest.mark.parametrize(
    "kind",
    [
        decimal(),
        decimal(precision=0),
        decimal(precision=2, scale=5),
        decimal(precision=4, scale=-2),
        decimal(precision=4, scale="2"),
        decimal(precision=10**9, scale=10**8),
    ],
)
def test_what_is_no_valid_logical_type_is_its_underlying_one(of_file, kind: Any) -> None:
    seen = decode([of_bytes(b"\x0c")], **of_file(kind)).observations
    assert seen.presence_ND.tolist() == [[Presence.WRONG_TYPE]]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ({"type": "int", "logicalType": "date"}, 2**31 - 1),
        ({"type": "int", "logicalType": "date"}, -(2**31)),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, 2**62),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, -(2**62)),
    ],
)
def test_a_day_that_cannot_be_is_a_matter_of_its_field_alone(tmp_path: Path, kind: Any, value: int) -> None:
    """Databases write "infinity" like this."""
    file = tmp_path / "reading.avsc"
    file.write_text(json.dumps(record("R", until=kind, a="int")), encoding="utf-8")
    settings = {"format": "avro", "avro": {"schema_file": file}, "append": LATER}
    one = written(record("R", until=kind["type"], a="int"), {"until": value, "a": 1})
    assert decode([one], **settings).observations.values_ND.tolist() == [[1.0]]
    assert reasons(decode([one], time="until", **settings)) == ["bad_time"]


def test_an_identifier_of_sixteen_bytes_is_text(of_file) -> None:
    kind = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    decoded = decode([field({"type": "fixed", "name": "U", "size": 16}, bytes(range(16)))], key=["a"], **of_file(kind))
    assert decoded.observations.keys == ("00010203-0405-0607-0809-0a0b0c0d0e0f",)


@pytest.mark.parametrize("default", [None, "null", 0, {"logicalType": "date"}])
def test_a_default_that_fits_no_type_is_no_matter(tmp_path: Path, default: Any) -> None:
    """Defaults are for readers with a schema of their own, and registries hold many that do not fit."""
    file = tmp_path / "reading.avsc"
    fields = [{"name": "a", "type": ["string", "double"], "default": default}]
    file.write_text(json.dumps({"type": "record", "name": "R", "fields": fields}), encoding="utf-8")
    settings = {"format": "avro", "avro": {"schema_file": file}}
    assert decode([field(["string", "double"], 2.5)], **settings).observations.values_ND.tolist() == [[2.5]]


def test_numbers_past_what_json_readers_take_are_floats_in_a_sample() -> None:
    assert as_json({"a": 10**40, "b": 10**400, "c": -5}) == b'{"a":1e40,"b":null,"c":-5}'


@pytest.mark.parametrize(
    ("kind", "value", "presence"),
    [
        (["null", "double"], None, Presence.ABSENT),
        ("double", float("nan"), Presence.NOT_FINITE),
        ("float", float("inf"), Presence.NOT_FINITE),
        ("string", "12.5", Presence.WRONG_TYPE),
        ("boolean", True, Presence.WRONG_TYPE),
        ("bytes", b"12", Presence.WRONG_TYPE),
        ({"type": "array", "items": "double"}, [1.0], Presence.WRONG_TYPE),
    ],
)
def test_what_is_no_number_says_why(of_file, kind: Any, value: Any, presence: Presence) -> None:
    seen = decode([field(kind, value)], **of_file(kind)).observations
    assert seen.presence_ND.tolist() == [[presence]]
    assert np.isnan(seen.values_ND).all()


def test_text_numbers_are_read_where_they_are_said_to_be(of_file) -> None:
    settings = of_file("string") | {"text_numbers": True}
    assert decode([field("string", "12.5")], **settings).observations.values_ND.tolist() == [[12.5]]


LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
NANOS = {"type": "long", "logicalType": "local-timestamp-nanos"}


@pytest.mark.parametrize(
    ("kind", "value", "zone", "told"),
    [
        ({"type": "int", "logicalType": "date"}, date(2026, 1, 2), "UTC", "2026-01-02T00:00:00Z"),
        (LOCAL, datetime(2026, 1, 2, 3), "Europe/Berlin", "2026-01-02T02:00:00Z"),
        (NANOS, 1_767_322_800_000_000_999, "Europe/Berlin", "2026-01-02T02:00:00Z"),
        ("string", "2026-01-02T03:00:00Z", "UTC", "2026-01-02T03:00:00Z"),
        ("double", 1_767_322_800.5, "UTC", "2026-01-02T03:00:00.500Z"),
    ],
)
def test_a_time_is_read_in_each_of_its_forms(tmp_path: Path, kind: Any, value: Any, zone: str, told: str) -> None:
    schema = record("R", at=kind, a="int")
    file = tmp_path / "reading.avsc"
    file.write_text(json.dumps(schema), encoding="utf-8")
    value = written(schema, {"at": value, "a": 1})
    decoded = decode([value], append=LATER, format="avro", avro={"schema_file": file}, time="at", timezone=zone)
    wanted = np.datetime64(told.removesuffix("Z"), "us").astype(np.int64)
    assert decoded.observations.time_N.tolist() == [int(wanted)]


def test_a_path_leads_into_records_and_maps(of_file) -> None:
    inner = record("I", v={"type": "map", "values": "double"})
    settings = of_file(["null", inner])
    values = [field(["null", inner], {"v": {"x.y": 1.0, "z": 2.0}}), field(["null", inner], None)]
    seen = decode(values, **settings | {"numeric": ["a.v.x.y", "a.v.z", "a.v.z.more"]}).observations
    assert seen.values_ND[0, :2].tolist() == [1.0, 2.0]
    assert seen.presence_ND.tolist() == [[Presence.PRESENT, Presence.PRESENT, Presence.ABSENT], [Presence.ABSENT] * 3]


def test_a_list_is_unnested_and_its_elements_are_addressed(of_file) -> None:
    inner = record("I", b="double", c={"type": "array", "items": "int"})
    settings = of_file({"type": "array", "items": inner}) | {"unnest": "a", "numeric": ["b", "c.1"]}
    values = [field({"type": "array", "items": inner}, [{"b": 1.5, "c": [1, 2]}, {"b": 2.5, "c": []}])]
    decoded = decode([*values, b"\x01"], **settings)
    assert decoded.observations.values_ND[:, 0].tolist() == [1.5, 2.5]
    assert decoded.observations.presence_ND.tolist() == [[Presence.PRESENT] * 2, [Presence.PRESENT, Presence.ABSENT]]
    assert decoded.observations.index_N.tolist() == [0, 1]
    assert [str(one.reason) for one in decoded.rejected] == ["malformed"]


def test_the_long_shape_names_metrics(schemas: Registry) -> None:
    schema = record("M", metric="string", value="double")
    number = schemas.register(schema)
    values = [written(schema, {"metric": name, "value": 1.0}, number) for name in ("a", "other")]
    decoded = decode(values, shape="long", **of_registry(schemas))
    assert decoded.observations.values_ND.tolist() == [[1.0]]
    assert decoded.counts["unknown_metrics"] == 1


def test_types_of_other_schemas_are_looked_up(schemas: Registry) -> None:
    unit, pair = record("plant.Unit", bar="double"), record("plant.Pair", one="plant.Unit")
    to_unit, to_pair = ({"name": f"plant.{name}", "subject": name, "version": 1} for name in ("Unit", "Pair"))
    schemas.register(unit, "Unit")
    schemas.register(pair, "Pair", [to_unit])
    number = schemas.register(record("W", p="plant.Pair", u="plant.Unit"), references=[to_pair, to_unit])
    inlined = record("W", p=record("plant.Pair", one=unit), u="plant.Unit")
    value = written(inlined, {"p": {"one": {"bar": 1.0}}, "u": {"bar": 2.0}}, number)
    seen = decode([value], numeric=["p.one.bar", "u.bar"], **of_registry(schemas)).observations
    assert seen.values_ND.tolist() == [[1.0, 2.0]]


def test_what_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_read(schemas: Registry) -> None:
    number = schemas.register(READING)
    json_schema = schemas.register({"type": "object"}, "json", schemaType="JSON")
    good = written(READING, reading(), number)
    bad_text = written(READING, reading(pump="p\x01"), number).replace(b"p\x01", b"p\xff")
    values = [
        good, good[:-1], good + b"x", b'{"a": 1}', b"\0\0", good[:5], bad_text,
        b"\0\0\0\0\x63" + good[5:], json_schema.to_bytes(5, "big") + good[5:], good,
    ]  # fmt: skip
    decoded = decode(values, **of_registry(schemas))
    assert decoded.observations.offset_N.tolist() == [100, 109]
    malformed = ["malformed"] * 2
    assert reasons(decoded) == [*malformed, "no_schema", "no_schema", "malformed", "bad_utf8", "no_schema", "no_schema"]
    told = [rejected.detail for rejected in decoded.rejected]
    assert told[1] == "1 bytes more than a value of plant.Reading has"
    assert "it does not begin with a schema id" in told[2]
    assert "has no such schema" in told[6]
    assert told[7] == f"schema {json_schema}: it is of the type JSON, and stream.format is avro"


@pytest.mark.parametrize(
    ("kind", "value", "below"),
    [
        (["null", "double"], None, b"\x01"),
        ({"type": "enum", "name": "State", "symbols": ["OFF", "ON"]}, "OFF", b"\x01"),
        ({"type": "array", "items": ["null", "double"]}, [None], b"\x02\x03\0"),
        ({"type": "map", "values": "plant.State"}, {"x": "OFF"}, b"\x02\x02x\x01\0"),
    ],
    ids=["union", "enum", "union in an array", "enum by its name"],
)
def test_a_place_below_none_in_a_union_or_enum_is_malformed(
    schemas: Registry, kind: Any, value: Any, below: bytes
) -> None:
    """It would otherwise be counted from the end, and the record be read as another."""
    state = {"type": "enum", "name": "plant.State", "symbols": ["OFF", "ON"]}
    schema = record("R", a="double", state=state, odd=kind)
    number = schemas.register(schema)
    good = written(schema, {"a": 1.0, "state": "ON", "odd": value}, number)
    bad = good[: 5 + 8 + 1] + below
    decoded = decode([good, bad, good], **of_registry(schemas))
    assert (reasons(decoded), len(decoded.observations)) == (["malformed"], 2)


@given(st.binary(min_size=1, max_size=60))
def test_no_bytes_raise(value: bytes) -> None:
    number_of = SHARED.register(READING) if not SHARED.by_id else 1
    decoded = decode([number_of.to_bytes(5, "big") + value, value], **of_registry(SHARED))
    assert len(decoded.observations) + len(decoded.rejected) == 2


@pytest.fixture(scope="module", autouse=True)
def _shared() -> Iterator[None]:
    global SHARED
    with registry() as SHARED:
        yield


SHARED: Registry


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("{", "not an Avro schema"),
        (json.dumps(record("R", a="nothing")), "nothing"),
        ('"double"', "the schema is not of a record"),
        (json.dumps(record("L", next=["null", "L"])), "the type L holds itself"),
        (json.dumps(record("R", a={"type": "array", "items": "null"})), "take no bytes"),
        (json.dumps(record("R", a={"type": "array", "items": record("E", b="null")})), "take no bytes"),
    ],
)
def test_a_schema_that_no_record_can_be_read_by_is_refused(tmp_path: Path, schema: str, told: str) -> None:
    file = tmp_path / "reading.avsc"
    file.write_text(schema, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=told):
        decode([b"x"], format="avro", avro={"schema_file": file})


def test_a_schema_file_that_is_not_there_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="schema_file"):
        decode([b"x"], format="avro", avro={"schema_file": tmp_path / "none.avsc"})


def test_the_record_keeps_its_own_key_and_time(schemas: Registry) -> None:
    value = written(READING, reading(), schemas.register(READING))
    seen = decode([value], **of_registry(schemas)).observations
    assert (seen.keys, seen.time_N.tolist()) == (("pump",), [APPEND])
