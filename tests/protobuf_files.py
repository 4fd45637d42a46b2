"""Descriptors and messages of Protobuf for tests, which have no compiler for `.proto` files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

STANDARD = ("timestamp", "duration", "wrappers", "struct")


def field(name: str, number: int, kind: str, *, many: bool = False, of: str = "", optional: bool = False) -> Any:
    """Return a field: `kind` such as "double", and `of` the full name of an enum or message."""
    one = FieldDescriptorProto(name=name, number=number, label=3 if many else 1, proto3_optional=optional)
    one.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    if of:
        one.type_name = f".{of}"
    return one


def message(name: str, *fields: Any, nested: Sequence[Any] = (), enums: Sequence[Any] = ()) -> Any:
    one = DescriptorProto(name=name, field=fields, nested_type=nested, enum_type=enums)
    for place, each in enumerate(each for each in one.field if each.proto3_optional):
        one.oneof_decl.add(name=f"_{each.name}")
        each.oneof_index = place
    return one


def file(*messages: Any, name: str = "plant.proto", imports: Sequence[str] = (), package: str = "plant") -> Any:
    dependency = [f"google/protobuf/{one}.proto" if one in STANDARD else one for one in imports]
    return FileDescriptorProto(
        name=name, package=package, syntax="proto3", dependency=dependency, message_type=messages
    )


def text(of: Any) -> str:
    """Return the file as a registry gives it."""
    return base64.b64encode(of.SerializeToString()).decode()


def classes(*files: Any) -> dict[str, Any]:
    """Return the classes of the messages of the last file, by name."""
    from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    pool = DescriptorPool()
    for one in (duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(one.DESCRIPTOR.serialized_pb)
    for one in files:
        pool.AddSerializedFile(one.SerializeToString())
    found = pool.FindFileByName(files[-1].name).message_types_by_name
    return {name: GetMessageClass(one) for name, one in found.items()}


def framed(number: int, body: bytes, place: bytes = b"\0") -> bytes:
    """Return a message behind the prefix of schema `number`. `place` are the numbers of the message in the schema."""
    return b"\0" + number.to_bytes(4, "big") + place + body
