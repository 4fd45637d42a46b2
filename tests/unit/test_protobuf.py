"""Protobuf values: what each type is read as, and what becomes of values that cannot be read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from codec_batches import decode, reasons
from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorSet
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from anomaly_daemon.detection.observation import Presence, category_code
from anomaly_daemon.errors import ConfigurationError, NoInput
from anomaly_daemon.settings import ProtobufSettings, StreamSettings
from anomaly_daemon.transport.protobuf_records import ProtobufRecords
from anomaly_daemon.transport.protobuf_schema import LANGUAGE
from anomaly_daemon.transport.record_fields import as_json, records_of
from anomaly_daemon.transport.rejection import Reason, Unreadable
from anomaly_daemon.transport.schema_registry import SchemaRegistry
from tests.protobuf_files import classes, field, file, framed, message, text
from tests.registries import Registry, registry

STATE = EnumDescriptorProto(name="State")
STATE.value.add(name="OFF", number=0)
STATE.value.add(name="ON", number=1)
READING = message(
    "Reading",
    field("pump", 1, "string"),
    field("at", 2, "message", of="google.protobuf.Timestamp"),
    field("a", 3, "double", optional=True),
    field("state", 4, "enum", of="plant.Reading.State"),
    enums=[STATE],
)
PLANT = file(READING, imports=["timestamp"])
Reading = classes(PLANT)["Reading"]
MORNING = datetime(2026, 1, 2, 3, tzinfo=UTC)
LATER = 1_767_400_000_000_000


def reading(**changes: Any) -> Any:
    one = Reading(**{"pump": "p7", "a": 2.5, "state": 1} | changes)
    one.at.FromDatetime(MORNING)
    return one


@pytest.fixture
def schemas() -> Iterator[Registry]:
    with registry() as one:
        yield one


def of_registry(schemas: Registry) -> dict[str, Any]:
    return {"format": "protobuf", "protobuf": {"registry_url": schemas.url}}


def register(schemas: Registry, of: Any, subject: str = "readings-value", **more: Any) -> int:
    return schemas.register(text(of), subject, schemaType="PROTOBUF", **more)


def test_a_message_behind_a_schemas_id_becomes_one_observation(schemas: Registry) -> None:
    number = register(schemas, PLANT)
    messages = [reading(), reading(pump="p8", a=None, state=0)]
    values = [framed(number, one.SerializeToString()) for one in messages]
    decoded = decode(values, append=LATER, key=["pump"], time="at", categorical=["state"], **of_registry(schemas))
    seen = decoded.observations
    assert seen.keys == ("p7", "p8")
    assert seen.time_N.tolist() == [int(MORNING.timestamp()) * 1_000_000] * 2
    assert seen.presence_ND.tolist() == [[Presence.PRESENT], [Presence.ABSENT]]
    assert seen.values_ND[0, 0] == 2.5
    assert seen.categories_NC.tolist() == [[category_code("ON")], [category_code("OFF")]]
    assert schemas.asked == [f"/schemas/ids/{number}?format=serialized"], "a schema is asked for once"


def test_the_prefix_says_which_message_of_the_schema_it_is(schemas: Registry) -> None:
    inner = message("Inner", field("a", 1, "double"))
    other = message("Other", field("b", 1, "string"), nested=[message("First"), inner])
    both = file(READING, other, imports=["timestamp"])
    number, body = register(schemas, both), classes(both)["Other"].Inner(a=7.5).SerializeToString()
    values = [
        framed(number, body, b"\4\2\2"),  # two numbers, 1 and 1, each with its sign in the last bit
        framed(number, reading().SerializeToString(), b"\2\0"),
        framed(number, body, b"\4\2\x0a"),
        framed(number, body, b"\1"),
        framed(number, b"", b"\x84"),
    ]
    decoded = decode(values, **of_registry(schemas))
    assert decoded.observations.values_ND.tolist() == [[7.5], [2.5]]
    assert reasons(decoded) == ["no_schema"] * 3
    assert "no message 1.5" in decoded.rejected[0].detail


def test_a_schema_may_import_others(schemas: Registry) -> None:
    units = file(message("Pressure", field("bar", 1, "double")), name="units/units.proto", package="units")
    pump = file(
        message(
            "Pump", field("p", 1, "message", of="units.Pressure"), field("d", 2, "message", of="confluent.type.Decimal")
        ),
        imports=["units/units.proto", "confluent/type/decimal.proto", "confluent/meta.proto"],
    )
    register(schemas, units, "units")
    references = [{"name": "units/units.proto", "subject": "units", "version": 1}]
    number = register(schemas, pump, references=references)
    body = b"\x0a\x09\x09" + b"\0\0\0\0\0\0\x02\x40" + b"\x12\x06\x0a\x02\x04\xd2\x18\x02"
    seen = decode([framed(number, body)], numeric=["p.bar", "d"], **of_registry(schemas)).observations
    assert seen.values_ND.tolist() == [[2.25, 12.34]]
    missing = register(schemas, pump)
    decoded = decode([framed(missing, body)], **of_registry(schemas))
    assert reasons(decoded) == ["no_schema"]
    assert "it imports units/units.proto" in decoded.rejected[0].detail


@pytest.mark.parametrize("given", ['syntax = "proto3";', 'syntax = "proto3"; // in \u00b0C'])
def test_a_registry_that_gives_text_is_told_of(schemas: Registry, given: str) -> None:
    number = schemas.register(given, schemaType="PROTOBUF")
    with pytest.raises(ConfigurationError, match="descriptor_file"):
        decode([framed(number, b"")], **of_registry(schemas))


def test_a_registry_that_refuses_to_give_descriptors_is_not_waited_for(schemas: Registry) -> None:
    number = register(schemas, PLANT)
    schemas.failures = [501]
    with pytest.raises(ConfigurationError, match=r"answers 501 .* descriptor_file"):
        decode([framed(number, b"")], **of_registry(schemas))
    assert len(schemas.asked) == 1


def test_the_newest_schema_of_a_subject_is_asked_for_by_its_id(schemas: Registry) -> None:
    number = register(schemas, PLANT)
    newest = SchemaRegistry(ProtobufSettings(registry_url=schemas.url), LANGUAGE).newest("readings-value")
    assert newest.fields == ("pump", "at", "a", "state")
    assert schemas.asked[1:] == [f"/schemas/ids/{number}?format=serialized"], "no subject gives descriptors everywhere"


def test_an_imported_file_may_have_any_name(schemas: Registry) -> None:
    units = file(message("Pressure", field("bar", 1, "double")), name="schema.proto", package="units")
    pump = file(message("Pump", field("p", 1, "message", of="units.Pressure")), imports=["schema.proto"])
    register(schemas, units, "units")
    number = register(schemas, pump, references=[{"name": "schema.proto", "subject": "units", "version": 1}])
    body = b"\x0a\x09\x09" + b"\0\0\0\0\0\0\x02\x40"
    seen = decode([framed(number, body)], numeric=["p.bar"], **of_registry(schemas)).observations
    assert seen.values_ND.tolist() == [[2.25]]


def test_what_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_read(schemas: Registry) -> None:
    number, avro = register(schemas, PLANT), schemas.register({"type": "record", "name": "R", "fields": []})
    good = framed(number, reading().SerializeToString())
    values = [good, b"{}", framed(99, b""), framed(avro, b""), framed(number, b"\x0a\xff"), good[:3], good]
    bad_text = framed(number, b"\x0a\x01\xff")
    decoded = decode([*values, bad_text], **of_registry(schemas))
    assert decoded.observations.values_ND.tolist() == [[2.5], [2.5]]
    assert [(one.row, one.reason.value) for one in decoded.rejected] == [
        (1, "no_schema"),
        (2, "no_schema"),
        (3, "no_schema"),
        (4, "malformed"),
        (5, "no_schema"),
        (7, "malformed"),
    ]
    assert "of the type AVRO, and stream.format is protobuf" in decoded.rejected[2].detail
    assert "not a message plant.Reading" in decoded.rejected[3].detail


EVERYTHING = message(
    "Everything",
    field("i", 1, "int64"),
    field("u", 2, "uint64"),
    field("f", 3, "float"),
    field("yes", 4, "bool"),
    field("raw", 5, "bytes"),
    field("many", 6, "double", many=True),
    field("states", 7, "enum", of="plant.Reading.State", many=True),
    field("by_name", 8, "message", of="plant.Everything.ByNameEntry", many=True),
    field("self", 9, "message", of="plant.Everything"),
    field("took", 10, "message", of="google.protobuf.Duration"),
    field("maybe", 11, "message", of="google.protobuf.DoubleValue"),
    field("free", 12, "message", of="google.protobuf.Struct"),
    field("at", 13, "message", of="google.protobuf.Timestamp"),
    nested=[message("ByNameEntry", field("key", 1, "bool"), field("value", 2, "message", of="plant.Reading"))],
)
EVERYTHING.nested_type[0].options.map_entry = True
ALL = file(READING, EVERYTHING, imports=["timestamp", "duration", "wrappers", "struct"])
Everything = classes(ALL)["Everything"]


@pytest.fixture
def descriptors(tmp_path: Path) -> Path:
    path = tmp_path / "plant.desc"
    path.write_bytes(FileDescriptorSet(file=[ALL]).SerializeToString())
    return path


def records(descriptors: Path, name: str = "plant.Everything") -> ProtobufRecords:
    return ProtobufRecords(ProtobufSettings(descriptor_file=descriptors, message=name))


def test_each_type_is_read_as_what_it_stands_for(descriptors: Path) -> None:
    one = Everything(i=-(2**62), u=2**63, f=0.5, yes=True, raw=b"\xff\0", many=[1.0, math.nan], states=[1, 9])
    one.by_name[True].pump = "p7"
    one.self.self.i = 4
    one.took.FromMilliseconds(1500)
    one.maybe.value = 0.0
    one.free.update({"a": {"b": [1, "x", None, True]}})
    one.at.FromJsonString("2026-01-02T03:00:00.123456789Z")
    record = dict(records(descriptors).record(one.SerializeToString()))
    blank = dict(records(descriptors).record(b""))
    assert record.pop("many")[0] == 1.0
    assert record.pop("by_name")["true"]["pump"] == "p7"
    assert record.pop("self")["self"] == blank | {"i": 4}
    assert record == {
        "i": -(2**62),
        "u": 2**63,
        "f": 0.5,
        "yes": True,
        "raw": "/wA=",
        "states": ["ON", 9],
        "took": 1.5,
        "maybe": 0.0,
        "free": {"a": {"b": [1.0, "x", None, True]}},
        "at": "2026-01-02T03:00:00.123456+00:00",
    }
    absent = dict.fromkeys(("self", "took", "maybe", "free", "at"))
    zero = {"i": 0, "u": 0, "f": 0.0, "yes": False, "raw": "", "many": [], "states": [], "by_name": {}}
    assert blank == zero | absent


def test_a_time_past_the_calendar_is_missing_and_a_decimal_past_all_numbers_infinite(descriptors: Path) -> None:
    one = Everything()
    one.at.seconds = 2**62
    assert records(descriptors).record(one.SerializeToString())["at"] is None
    decimal = file(
        message("D", field("d", 1, "message", of="confluent.type.Decimal")), imports=["confluent/type/decimal.proto"]
    )
    descriptors.write_bytes(FileDescriptorSet(file=[decimal]).SerializeToString())
    decoded = ProtobufRecords(ProtobufSettings(descriptor_file=descriptors))
    for scale in (b"\xf0\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\xf8\xff\xff\xff\xff\x01"):
        inside = b"\x0a\x01\x05" + b"\x18" + scale  # 5 * 10 ** 16, and past all
        value = decoded.record(b"\x0a" + bytes([len(inside)]) + inside)["d"]
        assert value in (5e16, math.inf)


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(
    st.integers(-(2**31), 2**31), numbers, st.booleans(), st.binary(max_size=5), st.lists(numbers, max_size=3),
    st.lists(st.sampled_from([0, 1]), max_size=3), st.none() | numbers,
)  # fmt: skip
def test_values_are_those_of_protobufs_own_json(
    i: int, f: float, yes: bool, raw: bytes, many: list[float], states: list[int], maybe: float | None
) -> None:
    one = Everything(i=i, f=f, yes=yes, raw=raw, many=many, states=states)
    if maybe is not None:
        one.maybe.value = maybe
    own = MessageToDict(one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    found = {name: value for name, value in SHARED.record(one.SerializeToString()).items() if value is not None}
    own |= {"i": int(own["i"]), "u": int(own["u"]), "f": f}  # texts there; and fewer digits
    assert found == own


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(value: bytes) -> None:
    value = value or b"\x08"
    (shown,) = as_json(SHARED.record, [value])
    assert shown == value or isinstance(json.loads(shown), dict), "a record, or the value as it came"


@pytest.fixture(autouse=True, scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    global SHARED
    path = tmp_path_factory.mktemp("shared") / "plant.desc"
    path.write_bytes(FileDescriptorSet(file=[ALL]).SerializeToString())
    SHARED = records(path)


def by_descriptors(path: Path, *files: Any, name: str | None = None) -> ProtobufRecords:
    path.write_bytes(FileDescriptorSet(file=files).SerializeToString())
    return ProtobufRecords(ProtobufSettings(descriptor_file=path, message=name))


def test_of_two_names_of_a_value_the_first_is_read_as_in_protobufs_own_json(tmp_path: Path) -> None:
    state = EnumDescriptorProto(name="State")
    state.options.allow_alias = True
    for name, number in (("OFF", 0), ("ON", 1), ("RUNNING", 1)):
        state.value.add(name=name, number=number)
    pump = file(message("Pump", field("state", 1, "enum", of="plant.Pump.State"), enums=[state]))
    value = classes(pump)["Pump"](state=1)
    read = by_descriptors(tmp_path / "pump.desc", pump).record(value.SerializeToString())
    assert read == MessageToDict(value) == {"state": "ON"}


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (b"\x0a\x01\xff", field("s", 1, "string")),
        (b"\x0a\x05\x0a\x01\xff\x10\x01", field("s", 1, "message", of="plant.R.SEntry", many=True)),
    ],
)
def test_in_proto2_text_that_is_not_utf8_is_a_dead_letter(tmp_path: Path, value: bytes, of: Any) -> None:
    entry = message("SEntry", field("key", 1, "string"), field("value", 2, "int64"))
    entry.options.map_entry = True
    old = file(message("R", of, nested=[entry]))
    old.syntax = "proto2"
    with pytest.raises(Unreadable) as found:
        by_descriptors(tmp_path / "old.desc", old).record(value)
    assert found.value.reason is Reason.BAD_UTF8


def test_a_message_of_any_file_among_the_descriptors_can_be_named(tmp_path: Path) -> None:
    units = file(message("Pressure", field("bar", 1, "double")), name="units.proto", package="units")
    pump = file(message("Pump", field("p", 1, "message", of="units.Pressure")), imports=["units.proto"])
    assert by_descriptors(tmp_path / "a.desc", units, pump, name="units.Pressure").record(b"") == {"bar": 0.0}


def test_fields_that_no_path_names_are_not_read(descriptors: Path) -> None:
    settings = ProtobufSettings(descriptor_file=descriptors, message="plant.Everything")
    stream = StreamSettings(format="protobuf", protobuf=settings, numeric=["i"])
    read = records_of(stream, ["by_name.true.pump", "i", "self.f", "free.b.0"])
    assert read is not None
    one = Everything(i=3, u=4, yes=True)
    one.self.f = 0.5
    one.by_name[True].pump = "p7"
    one.free.update({"b": [1], "c": 2})
    absent = {"by_name": {}, "self": None, "free": None}
    assert list(read(one.SerializeToString())) == [
        {
            "i": 3,
            "f": 0.0,
            "by_name": {"true": {"pump": "p7"}},
            "self": {"i": 0, "f": 0.5, **absent},
            "free": {"b": [1.0], "c": 2.0},
        }
    ]


def test_of_a_file_values_may_have_a_prefix_or_none(descriptors: Path) -> None:
    stream = {"format": "protobuf", "protobuf": {"descriptor_file": descriptors, "message": "plant.Reading"}}
    body = reading().SerializeToString()
    seen = decode([body, framed(17, body), framed(17, body, b"\2\0")], **stream).observations
    assert seen.values_ND.tolist() == [[2.5]] * 3


def test_a_list_is_unnested_and_a_path_leads_into_messages(descriptors: Path) -> None:
    batch = file(
        READING, message("Batch", field("pumps", 1, "message", of="plant.Reading", many=True)), imports=["timestamp"]
    )
    descriptors.write_bytes(FileDescriptorSet(file=[batch]).SerializeToString())
    stream = {"format": "protobuf", "protobuf": {"descriptor_file": descriptors, "message": "plant.Batch"}}
    value = classes(batch)["Batch"](pumps=[{"pump": "p7", "a": 1.5}, {"pump": "p8", "a": 2.5}]).SerializeToString()
    seen = decode([value], key=["pump"], unnest="pumps", **stream).observations
    assert (seen.keys, seen.values_ND.tolist()) == (("p7", "p8"), [[1.5], [2.5]])
    assert decode([value], numeric=["pumps.1.a"], **stream).observations.values_ND.tolist() == [[2.5]]


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"no descriptors", None, "not what protoc"),
        (b"", None, "describes no file"),
        (FileDescriptorSet(file=[ALL]).SerializeToString(), None, r"plant\.Reading, plant\.Everything"),
        (FileDescriptorSet(file=[ALL]).SerializeToString(), "Reading", "no message Reading, but plant.Reading"),
        (FileDescriptorSet(file=[file(READING)]).SerializeToString(), None, "not a Protobuf schema"),
        (FileDescriptorSet(file=[file(READING, imports=["a.proto"])]).SerializeToString(), None, "imports a.proto"),
    ],
)
def test_descriptors_that_cannot_be_used_are_told_of_at_the_start(
    tmp_path: Path, content: bytes, name: str | None, told: str
) -> None:
    path = tmp_path / "plant.desc"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=told):
        ProtobufRecords(ProtobufSettings(descriptor_file=path, message=name))


def test_descriptors_that_are_not_there_are_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"stream\.protobuf\.descriptor_file"):
        ProtobufRecords(ProtobufSettings(descriptor_file=tmp_path / "none.desc"))


def test_a_nested_message_is_named_in_full(descriptors: Path) -> None:
    assert records(descriptors, "plant.Everything.ByNameEntry").record(b"")["key"] is False


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, r"set protobuf\.registry_url"),
        ({"registry_url": "http://r:1", "descriptor_file": "x"}, "come from one of the two"),
        ({"registry_url": "http://r:1", "message": "x"}, "message names a message of descriptor_file"),
        ({"registry_url": "r:1"}, "must be like"),
        ({"descriptor_file": "x", "registry_username": "u"}, "registry_url is not"),
    ],
)
def test_settings_that_cannot_work_are_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        StreamSettings.model_validate({"format": "protobuf", "protobuf": keys, "numeric": ["a"]})


def test_a_sample_is_json(schemas: Registry) -> None:
    number = register(schemas, PLANT)
    read = ProtobufRecords(ProtobufSettings(registry_url=schemas.url)).record
    known, unknown = as_json(read, [framed(number, reading().SerializeToString()), b"\x01"])
    assert json.loads(known) == {"pump": "p7", "at": MORNING.isoformat(), "a": 2.5, "state": "ON"}
    assert unknown == b"\x01"
