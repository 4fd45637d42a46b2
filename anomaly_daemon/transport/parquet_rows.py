"""Rows of a Parquet file as JSON values, so that they take the same way as any other record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from anomaly_daemon.errors import NoInput, NotPermitted

ROWS = 8192


class ParquetRows:
    """Numbered rows, from 0. Times become ISO 8601 text, decimals floats, and NaN (Parquet's usual "missing") null."""

    header: bytes | None = None

    def __init__(self, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path)
        except PermissionError as error:
            raise NotPermitted(f"{path}: may not be read: {error.strerror or error}") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise NoInput(f"{path}: not a Parquet file that can be read: {error}") from error
        self.rows: int = self._file.metadata.num_rows
        self.position = 0
        self._ready: list[bytes] = []
        self._batches = self._from(0)

    def read(self, limit: int, timeout_seconds: float) -> list[tuple[int, bytes]]:
        """At most `limit` numbered rows; [] at the end."""
        if not self._ready:
            self._ready = next(self._batches, [])
        values, self._ready = self._ready[:limit], self._ready[limit:]
        first = self.position
        self.position += len(values)
        return list(enumerate(values, first))

    def ended(self) -> bool:
        return self.position >= self.rows

    def skip_to(self, number: int) -> None:
        self.position, self._ready = min(number, self.rows), []
        self._batches = self._from(self.position)

    def close(self) -> None:
        self._file.close()

    def _from(self, first: int) -> Iterator[list[bytes]]:
        """Row groups that end before `first` are left out unread."""
        start = 0
        groups: list[int] = []
        for number in range(self._file.metadata.num_row_groups):
            rows = self._file.metadata.row_group(number).num_rows
            if groups or start + rows > first:
                groups.append(number)
            else:
                start += rows
        for batch in self._file.iter_batches(batch_size=ROWS, row_groups=groups):
            skipped = min(max(first - start, 0), batch.num_rows)
            start += batch.num_rows
            if skipped < batch.num_rows:
                yield _json_values(batch.slice(skipped))


def _json_values(batch: Any) -> list[bytes]:
    columns = {name: _plain(batch.column(place)) for place, name in enumerate(batch.schema.names)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [msgspec.json.encode(row) for row in rows]


def _plain(column: Any) -> list[Any]:
    """Values that JSON can hold. Nanoseconds are cut to microseconds: Python's times go no finer."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    elif pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    values: list[Any] = column.to_pylist()
    return values
