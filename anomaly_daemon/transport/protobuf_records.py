"""Reads Protobuf messages, behind a schema registry's prefix or all of one type from a file of descriptors.

Source of the prefix: "Wire format" in the documentation of Confluent's Schema Registry. After the schema's id it has the
place of the message in the schema, as numbers of variable length.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from math import inf
from typing import Any

from anomaly_daemon.errors import ConfigurationError, unread
from anomaly_daemon.settings import ProtobufSettings
from anomaly_daemon.transport.json_tree import REGISTRY_PREFIX
from anomaly_daemon.transport.protobuf_schema import LANGUAGE, of_file
from anomaly_daemon.transport.rejection import NoSchema, Reason, Unreadable
from anomaly_daemon.transport.schema_registry import SchemaRegistry, schema_id

Record = Mapping[str, Any]
Reader = Callable[[Any], Any]
LONGEST_VARINT = 5
MOST_NESTED = 100
"""The deepest place of a message among those that are declared within one another."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProtobufRecords:
    """Reads each message as the type that it was written as.

    A field that may be absent and is, is missing; any other has its default. An enum is the name of its value, bytes
    are base64 text, a `Timestamp` is ISO 8601 text, a `Duration` a number of seconds, and a wrapper the value in it.
    """

    def __init__(self, protobuf: ProtobufSettings, names: Collection[str] | None = None) -> None:
        """`names`: the names of the fields that are read, at any depth; None for all. Every field of a message has a
        value, set or not, so the record of a message with many small ones would need much more memory than it has
        bytes. Raises ConfigurationError, NoInput or NotPermitted if the descriptors or certificates cannot be used.
        """
        self._names = names
        self._fields_of: dict[Any, tuple[tuple[str, bool, Reader | None], ...]] = {}
        self._registry = SchemaRegistry(protobuf, LANGUAGE) if protobuf.registry_url is not None else None
        self._fixed = None if protobuf.descriptor_file is None else _of_file(protobuf)

    def record(self, value: bytes) -> Record:
        """Return the record.

        Raises:
            Unreadable: the value does not hold one.
            Unavailable, NotPermitted, ConfigurationError: the registry did not give the schema of the value.
        """
        try:
            kind, start = self._type(value)
        except NoSchema as why:
            raise Unreadable(Reason.NO_SCHEMA, str(why)) from why
        name = kind.DESCRIPTOR.full_name
        try:
            record: Record = self._record(kind.FromString(value[start:]))
        except UnicodeDecodeError as fault:
            raise Unreadable(Reason.BAD_UTF8, str(fault)) from fault
        except Exception as fault:  # protobuf's exceptions differ between its implementations
            raise Unreadable(Reason.MALFORMED, f"not a message {name}: {fault}") from fault
        return record

    def _type(self, value: bytes) -> tuple[Any, int]:
        """Return the class of the message, and where it begins in the value. Raises NoSchema."""
        if self._registry is None:
            framed = value[:1] == b"\0"  # no message begins so, as no field has the number 0
            return self._fixed, (_place(value)[1] if framed else 0)
        schema = self._registry.schema(schema_id(value))
        path, start = _place(value)
        return schema.message(path), start

    def _record(self, message: Any) -> dict[str, Any]:
        record = dict[str, Any]()
        for name, may_lack, read in self._fields(message.DESCRIPTOR):
            value = None if may_lack and not message.HasField(name) else getattr(message, name)
            record[name] = value if value is None or read is None else read(value)
        return record

    def _fields(self, message: Any) -> tuple[tuple[str, bool, Reader | None], ...]:
        """Return, for each field of a message's descriptor, its name, whether it may be absent, and what makes its
        value one of JSON."""
        if message not in self._fields_of:
            read = [field for field in message.fields if self._names is None or field.name in self._names]
            self._fields_of[message] = tuple((field.name, field.has_presence, self._reader(field)) for field in read)
        return self._fields_of[message]

    def _reader(self, field: Any) -> Reader | None:
        """Return what makes the value of a field one of JSON; None where it is one already."""
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            of_map = self._reader_of_one(kind.fields_by_name["value"]) or _unchanged
            return lambda held: {_key(key): of_map(held[key]) for key in held}
        read = self._reader_of_one(field)
        if field.is_repeated:
            return list if read is None else lambda held: [read(one) for one in held]
        return read

    def _reader_of_one(self, field: Any) -> Reader | None:
        if field.type == field.TYPE_ENUM:
            names = {value.number: value.name for value in reversed(field.enum_type.values)}  # of aliases the first
            return lambda number: names.get(number, number)
        if field.message_type is not None:
            read: Reader = WELL_KNOWN.get(field.message_type.full_name, self._record)
            return read
        if field.type == field.TYPE_BYTES:
            return _base64
        return _text if field.type == field.TYPE_STRING else None


def _of_file(protobuf: ProtobufSettings) -> Any:
    assert protobuf.descriptor_file is not None
    what = f"stream.protobuf.descriptor_file {protobuf.descriptor_file}"
    try:
        return of_file(protobuf.descriptor_file.read_bytes()).named(protobuf.message)
    except OSError as error:
        raise unread(what, error) from error
    except NoSchema as error:
        raise ConfigurationError(f"{what}: {error}") from error


def _place(value: bytes) -> tuple[tuple[int, ...], int]:
    """Return the place of the message in its schema, and where the message begins. Raises NoSchema."""
    count, at = _varint(value, REGISTRY_PREFIX)
    if count == 0:  # short for the first message
        return (0,), at
    if not 0 < count <= MOST_NESTED:
        raise NoSchema(f"its prefix has {count} numbers of a message")
    path = []
    for _ in range(count):
        number, at = _varint(value, at)
        path.append(number)
    return tuple(path), at


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length with its sign in the last bit, and where the next begins. Raises NoSchema."""
    number = 0
    for place, byte in enumerate(value[at : at + LONGEST_VARINT]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise NoSchema("its prefix does not say which message of the schema it is")


def _unchanged(value: Any) -> Any:
    return value


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _text(value: Any) -> str:
    """Return the text. In proto2 the parser leaves one that is not UTF-8 as bytes. Raises UnicodeDecodeError for it."""
    return value if isinstance(value, str) else value.decode()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _timestamp(moment: Any) -> str | None:
    """Return the time, to the microsecond; None outside of the years 1 to 9999."""
    try:
        return (EPOCH + timedelta(seconds=moment.seconds, microseconds=moment.nanos // 1000)).isoformat()
    except OverflowError:
        return None


def _decimal(value: Any) -> float:
    """Return the nearest number, infinity past the largest."""
    unscaled = Decimal(int.from_bytes(value.value, "big", signed=True))
    try:
        return float(unscaled.scaleb(-value.scale, Context(prec=max(unscaled.adjusted() + 1, 1))))
    except (InvalidOperation, OverflowError):
        return inf


def _any_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    held = getattr(value, kind)
    return _struct(held) if kind == "struct_value" else _list(held) if kind == "list_value" else held


def _struct(struct: Any) -> dict[str, Any]:
    return {name: _any_value(struct.fields[name]) for name in struct.fields}


def _list(values: Any) -> list[Any]:
    return [_any_value(one) for one in values.values]


def _wrapped(wrapper: Any) -> Any:
    value = wrapper.value
    return _base64(value) if isinstance(value, bytes) else value


WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
WELL_KNOWN: Mapping[str, Reader] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": lambda duration: duration.seconds + duration.nanos / 1e9,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _any_value,
    "google.protobuf.ListValue": _list,
    "confluent.type.Decimal": _decimal,
    **{f"google.protobuf.{name}Value": _wrapped for name in WRAPPERS},
}
"""Types whose messages stand for one value."""
