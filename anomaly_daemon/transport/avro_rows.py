"""Reads the records of an Avro container file as JSON values, so that they are processed like all other records."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from anomaly_daemon.errors import NoInput, unread
from anomaly_daemon.transport import avro_logical, avro_schema


class AvroRows:
    """A reader of one file (see `files_chain.Reader`). Its records are numbered from 0. Times become ISO 8601 text,
    decimals become floats, NaN and infinities become null."""

    header: bytes | None = None

    def __init__(self, path: str) -> None:
        try:
            self._file = Path(path).open("rb")  # noqa: SIM115 - `close` closes it
        except OSError as error:
            raise unread(path, error) from error
        self._path, self.position = path, 0
        self._block_end = 0
        """Number of records in the blocks that were read or skipped so far."""
        self._records = self._from(0)
        self._ahead = list(islice(self._records, 1))

    def read(self, limit: int, timeout_seconds: float) -> list[tuple[int, bytes]]:
        """Return at most `limit` records with their numbers; [] at the end."""
        found = [*self._ahead, *islice(self._records, limit - len(self._ahead))]
        first = self.position
        self.position += len(found)
        self._ahead = list(islice(self._records, 1))
        return [(number, as_json(record)) for number, record in enumerate(found, first)]

    def ended(self) -> bool:
        return not self._ahead

    def skip_to(self, number: int) -> None:
        self._file.seek(0)
        self._records = self._from(number)
        self._ahead = list(islice(self._records, 1))
        self.position = number if self._ahead else min(number, self._block_end)

    def close(self) -> None:
        self._file.close()

    def _from(self, first: int) -> Iterator[Any]:
        """Yield the records from number `first` on. Blocks that end before it are skipped without decoding them."""
        from fastavro import block_reader

        self._block_end = 0
        avro_logical.tolerate_invalid_values()
        try:
            blocks = block_reader(self._file, handle_unicode_errors="surrogateescape")
            for schema in (blocks.writer_schema, *getattr(blocks, "_named_schemas", {}).get("writer", {}).values()):
                avro_schema.guard(schema)
            for block in blocks:
                before, self._block_end = self._block_end, self._block_end + block.num_records
                if self._block_end > first:
                    yield from islice(block, max(first - before, 0), None)
        except Exception as error:  # fastavro raises exceptions of many types for bytes that are not Avro
            self.close()
            what = "is damaged" if self._block_end else "not an Avro container file that can be read, or damaged"
            raise NoInput(f"{self._path}: {what}: {type(error).__name__}: {error}") from error


def as_json(record: Any) -> bytes:
    """Return a record, as fastavro decodes it, as a JSON object."""
    return msgspec.json.encode(_plain(record))


def _plain(value: Any) -> Any:
    """Return the value with all decimals, and integers of more than 64 bits, as floats, since the JSON encoder does not
    take them as numbers. An integer past the range of a float becomes None, as does text that is not UTF-8."""
    if isinstance(value, dict):
        return {name if _is_text(name) else ascii(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return value if _is_text(value) else None
    too_long = type(value) is int and not -(2**63) <= value < 2**64
    return _float(value) if too_long or isinstance(value, Decimal) else value


def _is_text(value: str) -> bool:
    """Whether the text was UTF-8. Where it was not, fastavro has put a lone surrogate for each byte."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None
