"""Fields of Avro values: behind a schema registry's prefix, or of one schema that a file holds."""

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
from anomaly_daemon.transport.json_fields import REGISTRY_PREFIX
from anomaly_daemon.transport.rejection import Reason, Rejections
from anomaly_daemon.transport.schema_registry import SchemaRegistry

UNFRAMED = "no schema's id before it: a zero byte and four bytes, as the serializers of a schema registry write"
Record = Mapping[str, Any]


class AvroFields:
    """Reads the wanted fields of each record by the schema that it was written with.

    A path with dots is a way into nested records and maps. Decimals are numbers; dates and local times ISO 8601 text; an
    enum is its symbol; an instant (`timestamp-millis`, ...) the number that it is.
    """

    def __init__(self, paths: Iterable[str], avro: AvroSettings) -> None:
        """Raises ConfigurationError, NoInput or NotPermitted for a schema file or certificates that cannot be used."""
        from fastavro import schemaless_reader

        self._ways = {path: _way(path) for path in dict.fromkeys(paths)}
        self._read_one = schemaless_reader
        self._registry = SchemaRegistry(avro) if avro.registry_url is not None else None
        self._fixed = None if avro.schema_file is None else _of_file(avro)

    def read(self, values: Sequence[bytes], rows: Int64, rejections: Rejections) -> Table:
        """The fields of the values that can be read; `rows` are the values' places in the batch.

        Raises:
            Unavailable, NotPermitted, ConfigurationError: the registry did not say what a value's schema is.
        """
        found = [self._record(value, row, rejections) for value, row in zip(values, rows.tolist(), strict=True)]
        records = [record for record in found if record is not None]
        kept = rows[np.fromiter((record is not None for record in found), bool, len(found))]
        return Table(kept, {path: list(map(way, records)) for path, way in self._ways.items()})

    def as_json(self, values: Iterable[bytes]) -> list[bytes]:
        """Each value as a JSON object, and as it is where it cannot be read. Raises as `read` does."""
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
        except Exception as fault:  # whatever fastavro makes of bytes that are none of this schema
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
        """What the value was written with, and where it begins."""
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
    """What the path leads to in a record. Names hold no dots in Avro, but a map's keys may."""

    def find(within: Any, rest: str = path) -> Any:
        if not isinstance(within, Mapping):
            return None
        if (whole := within.get(rest)) is not None or "." not in rest:
            return whole
        first, _, after = rest.partition(".")
        return find(within.get(first), after)

    return find
