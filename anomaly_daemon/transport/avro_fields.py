"""Reads fields of Avro values, which begin with a schema registry's prefix or all have one schema from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.errors import ConfigurationError, unread
from anomaly_daemon.settings import AvroSettings
from anomaly_daemon.transport.avro_rows import as_json
from anomaly_daemon.transport.avro_schema import NoSchema, Schema, schema_of
from anomaly_daemon.transport.columns import Table
from anomaly_daemon.transport.json_tree import REGISTRY_PREFIX
from anomaly_daemon.transport.rejection import Reason, Rejections
from anomaly_daemon.transport.schema_registry import SchemaRegistry

UNFRAMED = (
    "it does not begin with a schema id (a zero byte and four bytes), as a schema registry's serializers write it"
)
Record = Mapping[str, Any]


class AvroFields:
    """Reads the wanted fields of each record with the schema that the record was written with.

    A path with dots leads into nested records and maps. Decimals become numbers, dates and local times ISO 8601 text,
    and an enum its symbol. An instant (`timestamp-millis`, ...) stays the number that it is stored as.
    """

    def __init__(self, paths: Iterable[str], avro: AvroSettings) -> None:
        """Raises ConfigurationError, NoInput or NotPermitted if the schema file or the certificates cannot be used."""
        from fastavro import schemaless_reader

        self._ways = {path: _way(path) for path in dict.fromkeys(paths)}
        self._read_one = schemaless_reader
        self._registry = SchemaRegistry(avro) if avro.registry_url is not None else None
        self._fixed = None if avro.schema_file is None else _of_file(avro)

    def read(self, values: Sequence[bytes], rows: Int64, rejections: Rejections) -> Table:
        """Return the fields of the values that can be read. `rows` are the places of the values in the batch. Values
        that cannot be read are added to `rejections`.

        Raises:
            Unavailable, NotPermitted, ConfigurationError: the registry did not give the schema of a value.
        """
        found = [self._record(value, row, rejections) for value, row in zip(values, rows.tolist(), strict=True)]
        records = [record for record in found if record is not None]
        kept = rows[np.fromiter((record is not None for record in found), bool, len(found))]
        return Table(kept, {path: list(map(way, records)) for path, way in self._ways.items()})

    def as_json(self, values: Iterable[bytes]) -> list[bytes]:
        """Return each value as a JSON object, or unchanged if it cannot be read. Raises the same errors as `read`."""
        found = ((value, self._record(value, 0, Rejections())) for value in values)
        return [value if record is None else as_json(record) for value, record in found]

    def _record(self, value: bytes, row: int, rejections: Rejections) -> Record | None:
        try:
            schema, start = self._schema(value)
        except NoSchema as why:
            rejections.add(row, Reason.NO_SCHEMA, str(why))
            return None
        stream = BytesIO(value)
        stream.seek(start)
        try:
            record: Record = self._read_one(stream, schema.parsed, None)
        except UnicodeDecodeError as fault:
            rejections.add(row, Reason.BAD_UTF8, str(fault))
        except Exception as fault:  # fastavro raises exceptions of many types for bytes that do not fit the schema
            rejections.add(
                row, Reason.MALFORMED, f"not a value of {schema.name}: {type(fault).__name__} {fault}".strip()
            )
        else:
            if stream.tell() == len(value):
                return record
            more = len(value) - stream.tell()
            rejections.add(row, Reason.MALFORMED, f"{more} bytes more than a value of {schema.name} has")
        return None

    def _schema(self, value: bytes) -> tuple[Schema, int]:
        """Return the schema that the value was written with, and the place in the value where the record begins. Raises
        NoSchema."""
        if self._registry is None:
            assert self._fixed is not None, "settings name a registry or a file"
            return self._fixed, 0
        if value[0] != 0 or len(value) < REGISTRY_PREFIX:
            raise NoSchema(UNFRAMED)
        return self._registry.schema(int.from_bytes(value[1:REGISTRY_PREFIX], "big")), REGISTRY_PREFIX


def _of_file(avro: AvroSettings) -> Schema:
    assert avro.schema_file is not None
    what = f"stream.avro.schema_file {avro.schema_file}"
    try:
        return schema_of(avro.schema_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise unread(what, error) from error
    except (NoSchema, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{what}: {error}") from error


def _way(path: str) -> Callable[[Record], Any]:
    """Return a function that finds the value at this path in a record. Avro names contain no dots, but the keys of a
    map may, so each remaining path is tried as one name first."""

    def find(within: Any, rest: str = path) -> Any:
        if not isinstance(within, Mapping):
            return None
        if (whole := within.get(rest)) is not None or "." not in rest:
            return whole
        first, _, after = rest.partition(".")
        return find(within.get(first), after)

    return find
