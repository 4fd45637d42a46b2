"""Prepares Avro schemas for decoding, and refuses those that cannot be used.

Types are those of the Apache Avro specification 1.12; `avro_logical` describes how logical types are read. Whether a
value is a time, and in what unit, is decided by `stream.time_unit`, so all other logical types are removed from the
schema. Defaults are removed as well: they serve readers with a schema of their own, and many defaults in registries do
not fit their type, for which fastavro would refuse the whole schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from anomaly_daemon.transport import avro_logical
from anomaly_daemon.transport.rejection import NoSchema

REMOVED = ("logicalType", "default")
NOTHING = ("null",)
NAMED = "__named_schemas"
"""Where fastavro keeps the types that a parsed schema refers to by name."""


class Schema(NamedTuple):
    """The schema of a record: its full name, the schema as parsed by fastavro, and the names of its fields."""

    name: str
    parsed: Any
    fields: tuple[str, ...]


def schema_of(text: str, referred: Iterable[str] = ()) -> Schema:
    """Return the schema that the JSON text describes. `referred` are the texts of the schemas that it refers to by
    name, each after those that it refers to itself.

    Raises:
        NoSchema: the text is not an Avro schema, or no record can be read with it.
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
    except Exception as error:  # fastavro raises exceptions of many types for what is not a schema
        raise NoSchema(f"not an Avro schema: {type(error).__name__}: {error}") from error
    if not isinstance(parsed, dict) or parsed["type"] != "record":
        raise NoSchema("the schema is not of a record")
    try:
        for what in _endless(parsed, named, ()):
            raise NoSchema(what)
        guarded = _guarded(parsed)
    except RecursionError as error:
        raise NoSchema("the schema is nested too deeply") from error
    return Schema(parsed["name"], guarded, tuple(field["name"] for field in parsed["fields"]))


def guard(schema: Any) -> None:
    """Have the parsed schema of a record refuse a union's or enum's index below 0, in place, for a reader that has
    parsed it itself. A type that is referred to by name is guarded where it is defined: the reader has a second one."""
    if isinstance(schema, dict):
        kept = _guarded(schema)
        schema.clear()
        schema.update(kept)


def _guarded(schema: Any) -> Any:
    """Return the parsed schema with its unions and symbols in lists that refuse an index below 0. fastavro would take
    it as counted from the end, and so make a record of bytes that are none."""
    if isinstance(schema, list):
        return _by_index([_guarded(part) for part in schema])
    if not isinstance(schema, dict):
        return schema
    kept = {name: _guarded(part) if name in ("type", "items", "values") else part for name, part in schema.items()}
    if "fields" in kept:
        kept["fields"] = [_guarded(field) for field in kept["fields"]]
    if kept.get("type") == "enum":
        kept["symbols"] = _by_index(kept["symbols"])
    if NAMED in kept:
        kept[NAMED] = {name: _guarded(part) for name, part in kept[NAMED].items()}
    return kept


def _by_index(items: list[Any]) -> list[Any]:
    """Return the list as one whose items are found as in a dictionary, in compiled code. fastavro adds the length of a
    list to an index below 0, so the list claims to have none."""
    found = dict(enumerate(items))
    guarded = type("ByIndex", (list,), {"__getitem__": found.__getitem__, "__len__": lambda _: 0})
    return guarded(items)  # type: ignore[no-any-return]


def _as_read(schema: Any) -> Any:
    """Return the schema without logical types and defaults, but with this program's own names for the logical types
    that `avro_logical` reads."""
    if isinstance(schema, list):
        return [_as_read(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _as_read(value) for key, value in schema.items() if key not in REMOVED}
    logical = avro_logical.as_read(schema)
    return kept if logical is None else kept | {"logicalType": logical}


def _endless(schema: Any, named: dict[str, Any], within: tuple[str, ...]) -> Iterator[str]:
    """Yield the reasons why a few bytes could crash the decoder or keep it busy forever: a type that contains itself,
    which is decoded as deep as the bytes ask for, or an array of items that take no bytes. `within` has the names of
    the enclosing types."""
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
    """The types that a type consists of."""
    if schema["type"] in ("record", "error"):
        return [field["type"] for field in schema["fields"]]
    return [schema[key] for key in ("items", "values") if key in schema]


def _takes_nothing(schema: Any, named: dict[str, Any]) -> bool:
    """Whether values of this type take no bytes. A type that contains itself can raise RecursionError, which
    `schema_of` catches."""
    if isinstance(schema, str):
        return schema in NOTHING or (schema in named and _takes_nothing(named[schema], named))
    if isinstance(schema, list):
        return False
    if schema["type"] in ("record", "error"):
        return all(_takes_nothing(part, named) for part in _parts(schema))
    return schema["type"] in NOTHING or (schema["type"] == "fixed" and schema["size"] == 0)
