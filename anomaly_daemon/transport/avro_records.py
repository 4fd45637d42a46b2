"""Reads Avro values, which begin with a schema registry's prefix or all have one schema from a file."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from anomaly_daemon.errors import ConfigurationError, unread
from anomaly_daemon.settings import AvroSettings
from anomaly_daemon.transport.avro_schema import Schema, schema_of
from anomaly_daemon.transport.json_tree import REGISTRY_PREFIX
from anomaly_daemon.transport.rejection import NoSchema, Reason, Unreadable
from anomaly_daemon.transport.schema_registry import Language, SchemaRegistry, schema_id

LANGUAGE = Language(
    "AVRO", "stream.avro", lambda own, referred: schema_of(own.text, [other.text for other in referred])
)
Record = Mapping[str, Any]


class AvroRecords:
    """Reads each value with the schema that it was written with.

    Decimals become numbers, dates and local times ISO 8601 text, and an enum its symbol. An instant
    (`timestamp-millis`, ...) stays the number that it is stored as.
    """

    def __init__(self, avro: AvroSettings) -> None:
        """Raises ConfigurationError, NoInput or NotPermitted if the schema file or the certificates cannot be used."""
        from fastavro import schemaless_reader

        self._read_one = schemaless_reader
        self._registry = SchemaRegistry(avro, LANGUAGE) if avro.registry_url is not None else None
        self._fixed = None if avro.schema_file is None else _of_file(avro)

    def record(self, value: bytes) -> Record:
        """Return the record.

        Raises:
            Unreadable: the value does not hold one.
            Unavailable, NotPermitted, ConfigurationError: the registry did not give the schema of the value.
        """
        try:
            schema, start = self._schema(value)
        except NoSchema as why:
            raise Unreadable(Reason.NO_SCHEMA, str(why)) from why
        stream = BytesIO(value)
        stream.seek(start)
        try:
            record: Record = self._read_one(stream, schema.parsed, None)
        except UnicodeDecodeError as fault:
            raise Unreadable(Reason.BAD_UTF8, str(fault)) from fault
        except Exception as fault:  # fastavro raises exceptions of many types for bytes that do not fit the schema
            detail = f"not a value of {schema.name}: {type(fault).__name__} {fault}".strip()
            raise Unreadable(Reason.MALFORMED, detail) from fault
        if (more := len(value) - stream.tell()) > 0:
            raise Unreadable(Reason.MALFORMED, f"{more} bytes more than a value of {schema.name} has")
        return record

    def _schema(self, value: bytes) -> tuple[Schema, int]:
        """Return the schema that the value was written with, and the place in the value where the record begins. Raises
        NoSchema."""
        if self._registry is None:
            assert self._fixed is not None, "settings name a registry or a file"
            return self._fixed, 0
        return self._registry.schema(schema_id(value)), REGISTRY_PREFIX


def _of_file(avro: AvroSettings) -> Schema:
    assert avro.schema_file is not None
    what = f"stream.avro.schema_file {avro.schema_file}"
    try:
        return schema_of(avro.schema_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise unread(what, error) from error
    except (NoSchema, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{what}: {error}") from error
