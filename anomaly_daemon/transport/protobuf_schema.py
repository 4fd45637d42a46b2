"""Prepares Protobuf schemas for decoding: from the descriptors of a file and its imports to message classes.

The text of a `.proto` file is not parsed here. Registries give a schema as a serialised `FileDescriptorProto` when they
are asked for it, and protoc writes a `FileDescriptorSet`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.transport.rejection import NoSchema
from anomaly_daemon.transport.schema_registry import Language, Text

MAIN = "(of the registry)"
"""The name of a registry's own file, which nothing imports: no file that is imported has such a name."""
NO_DESCRIPTORS = "name the descriptors in descriptor_file instead (docs/input.md)"
STANDARD = {
    f"google/protobuf/{name}.proto": f"google.protobuf.{name}_pb2"
    for name in ("any", "descriptor", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
}
"""Files that come with protobuf, and the modules that hold them."""
CONFLUENT = {
    "confluent/meta.proto": (),
    "confluent/type/decimal.proto": (("value", 12), ("precision", 5), ("scale", 5)),
}
"""Files that Confluent's serializers know without a reference: the fields, each with its type's number, of their
message. Of the first only options are used, which do not matter here."""


class ProtobufSchema:
    """A file of Protobuf messages."""

    def __init__(self, file: Any) -> None:
        """`file`: the file's descriptor."""
        self._pool = file.pool
        self._messages = list(file.message_types_by_name.values())
        self._classes: dict[tuple[int, ...], Any] = {}

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields of the first message."""
        return tuple(field.name for field in self._messages[0].fields) if self._messages else ()

    def message(self, path: tuple[int, ...]) -> Any:
        """Return the class of a message. `path`: its number among the file's messages, then its number among those
        that are declared within that one, and so on. Raises NoSchema if there is none."""
        if path not in self._classes:
            among, found = self._messages, None
            for number in path:
                if not 0 <= number < len(among):
                    raise NoSchema(f"the schema has no message {'.'.join(map(str, path))}")
                found = among[number]
                among = found.nested_types
            self._classes[path] = _class(found)
        return self._classes[path]

    def named(self, name: str | None) -> Any:
        """Return the class of the message with this full name, in the file or in those that come with it; of None, of
        the file's only message. Raises NoSchema."""
        names = [one.full_name for one in self._messages]
        if name is None and len(names) != 1:
            raise NoSchema(
                f"stream.protobuf.message must name one of its messages: {', '.join(names) or 'it has none'}"
            )
        try:
            return _class(self._messages[0] if name is None else self._pool.FindMessageTypeByName(name))
        except KeyError as error:
            raise NoSchema(f"it has no message {name}, but {', '.join(names) or 'none'}") from error


def of_registry(own: Text, referred: Sequence[Text]) -> ProtobufSchema:
    """Return the schema of a registry's answers. Raises NoSchema, and ConfigurationError if the registry does not give
    descriptors."""
    files = [_file(other, other.name) for other in referred]
    return ProtobufSchema(_pooled([*files, _file(own, MAIN)]))


LANGUAGE = Language("PROTOBUF", "stream.protobuf", of_registry, "?format=serialized", NO_DESCRIPTORS)


def of_file(content: bytes) -> ProtobufSchema:
    """Return the schema of a serialised FileDescriptorSet, whose last file is the one that was compiled. Raises
    NoSchema."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.message import DecodeError

    try:
        files = FileDescriptorSet.FromString(content).file
    except DecodeError as error:
        raise NoSchema("not what protoc --descriptor_set_out writes") from error
    if not files:
        raise NoSchema("it describes no file")
    return ProtobufSchema(_pooled(files))


def _file(schema: Text, name: str) -> Any:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import DecodeError

    try:
        content = base64.b64decode(schema.text, validate=True)
    except ValueError as error:  # of text that is not ASCII it is no binascii.Error
        reason = f"the registry gives Protobuf schemas as text alone: {NO_DESCRIPTORS}"
        raise ConfigurationError(f"stream.protobuf.registry_url: {reason}") from error
    try:
        file = FileDescriptorProto.FromString(content)
    except DecodeError as error:
        raise NoSchema("not a Protobuf schema") from error
    file.name = name
    return file


def _pooled(files: Iterable[Any]) -> Any:
    """Return the descriptor of the last file, in a pool of its own with the files that it imports. Each must come after
    those that it imports itself."""
    from google.protobuf.descriptor_pool import DescriptorPool

    pool, known, last = DescriptorPool(), set[str](), ""
    for file in files:
        for name in file.dependency:
            if name not in known and (built_in := _built_in(name)) is not None:
                _add(pool, built_in, known)
        if lacking := [name for name in file.dependency if name not in known]:
            raise NoSchema(f"it imports {', '.join(lacking)}, which is not there")
        _add(pool, file, known)
        last = file.name
    return pool.FindFileByName(last)


def _add(pool: Any, file: Any, known: set[str]) -> None:
    if file.name in known:
        return
    for name in file.dependency:  # of a file that comes with protobuf
        if name not in known and (built_in := _built_in(name)) is not None:
            _add(pool, built_in, known)
    try:
        pool.AddSerializedFile(file.SerializeToString())
    except TypeError as error:
        raise NoSchema(f"not a Protobuf schema: {error}") from error
    known.add(file.name)


def _built_in(name: str) -> Any:
    """Return a file that comes with protobuf, or that serializers know; None if it is no such file."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    if name in CONFLUENT:
        file = FileDescriptorProto(name=name, package="confluent.type", syntax="proto3")
        if CONFLUENT[name]:
            message = file.message_type.add(name="Decimal")
            for number, (field, kind) in enumerate(CONFLUENT[name], 1):
                message.field.add(name=field, number=number, type=kind, label=1)
        return file
    if name not in STANDARD:
        return None
    return FileDescriptorProto.FromString(import_module(STANDARD[name]).DESCRIPTOR.serialized_pb)


def _class(message: Any) -> Any:
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(message)
