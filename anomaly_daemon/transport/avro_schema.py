"""Avro schemas as we read with them, and those that we do not.

The Apache Avro specification 1.12 has the types; what becomes of logical ones is in `avro_logical`. Which values are a
time, of what unit, is for `stream.time_unit` to say, so what a schema says of it is taken off. So are defaults, which are
for readers with a schema of their own: registries hold many that fit no type, and fastavro would refuse the schema for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from anomaly_daemon.transport import avro_logical

TAKEN_OFF = ("logicalType", "default")
NOTHING = ("null",)


class NoSchema(Exception):  # noqa: N818 - a reason, told to whoever reads the dead letter
    """There is no schema to read the record by."""


class Schema(NamedTuple):
    """A record's schema: its full name, as fastavro has parsed it, and its fields."""

    name: str
    parsed: Any
    fields: tuple[str, ...]


def schema_of(text: str, referred: Iterable[str] = ()) -> Schema:
    """The schema that the JSON text is. `referred`: those that it refers to by name, each after what it refers to itself.

    Raises:
        NoSchema: it is none, or one that no record can be read by.
    """
    from fastavro import parse_schema

    avro_logical.register()
    named: dict[str, Any] = {}
    try:
        for other in referred:
            parse_schema(_as_read(json.loads(other)), named)
        parsed = parse_schema(_as_read(json.loads(text)), named)
    except RecursionError as error:
        raise NoSchema("the schema is nested too deeply") from error
    except Exception as error:  # whatever fastavro makes of what is no schema
        raise NoSchema(f"not an Avro schema: {type(error).__name__}: {error}") from error
    if not isinstance(parsed, dict) or parsed["type"] != "record":
        raise NoSchema("the schema is not of a record")
    try:
        for what in _endless(parsed, named, ()):
            raise NoSchema(what)
    except RecursionError as error:
        raise NoSchema("the schema is nested too deeply") from error
    return Schema(parsed["name"], parsed, tuple(field["name"] for field in parsed["fields"]))


def _as_read(schema: Any) -> Any:
    """Without what is not for us, and with names of our own for the logical types that we read ourselves."""
    if isinstance(schema, list):
        return [_as_read(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _as_read(value) for key, value in schema.items() if key not in TAKEN_OFF}
    logical = avro_logical.as_read(schema)
    return kept if logical is None else kept | {"logicalType": logical}


def _endless(schema: Any, named: dict[str, Any], within: tuple[str, ...]) -> Iterator[str]:
    """Why a few bytes could end the decoder or keep it busy for ever: a type within itself, of which it goes as deep as the
    bytes say, or an array of items that take no bytes."""
    if isinstance(schema, list):
        for part in schema:
            yield from _endless(part, named, within)
    elif isinstance(schema, str):
        if schema in named:
            yield from _endless(named[schema], named, within)
    elif schema.get("name") in within:
        yield f"the type {schema['name']} holds itself, which is not supported"
    else:
        inside = (*within, schema["name"]) if "name" in schema else within
        if schema["type"] == "array" and _takes_nothing(schema["items"], named):
            yield "an array of items that take no bytes is not supported"
        for part in _parts(schema):
            yield from _endless(part, named, inside)


def _parts(schema: dict[str, Any]) -> list[Any]:
    """The types that a type is made of."""
    if schema["type"] in ("record", "error"):
        return [field["type"] for field in schema["fields"]]
    return [schema[key] for key in ("items", "values") if key in schema]


def _takes_nothing(schema: Any, named: dict[str, Any]) -> bool:
    """Of a type that does not hold itself: whether its values are of no bytes."""
    if isinstance(schema, str):
        return schema in NOTHING or (schema in named and _takes_nothing(named[schema], named))
    if isinstance(schema, list):
        return False
    if schema["type"] in ("record", "error"):
        return all(_takes_nothing(part, named) for part in _parts(schema))
    return schema["type"] in NOTHING or (schema["type"] == "fixed" and schema["size"] == 0)
