"""Reads the rows of a Parquet file as JSON values, so that they are processed like all other records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from anomaly_daemon.errors import NoInput, NotPermitted

ROWS = 8192


class ParquetRows:
    """A reader of one file (see `files_chain.Reader`). Its rows are numbered from 0. Times become ISO 8601 text,
    decimals become floats. NaN (Parquet's usual "missing"), infinities and values that Python cannot hold become null.
    """

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
        self._path = path
        self.rows: int = self._file.metadata.num_rows
        self.position = 0
        self._ready: list[bytes] = []
        self._batches = self._from(0)

    def read(self, limit: int, timeout_seconds: float) -> list[tuple[int, bytes]]:
        """Return at most `limit` rows with their numbers; [] at the end."""
        if not self._ready:
            self._ready = self._next()
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

    def _next(self) -> list[bytes]:
        import pyarrow as pa

        try:
            return next(self._batches, [])
        except (pa.ArrowException, OSError) as error:
            raise NoInput(f"{self._path}: is damaged, and cannot be read past row {self.position}: {error}") from error

    def _from(self, first: int) -> Iterator[list[bytes]]:
        """Yield the rows from number `first` on, as JSON. Row groups that end before it are not read."""
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
    """Return the column's values as JSON can hold them. A value that Python cannot hold, such as a date past the year
    9999, is None."""
    held = _held(column.type)
    column = column if held == column.type else column.cast(held, safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        return [_one(scalar) for scalar in column]
    return values


def _one(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return None


def _held(kind: Any) -> Any:
    """Return the Arrow type that a column is cast to so that Python can hold its values, also within nested types.
    Nanoseconds are truncated to microseconds, the resolution of Python's times. An instant with any zone is converted
    to UTC."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        # coarser units stay as they are: microseconds would overflow for times far away
        return pa.timestamp("us" if kind.unit == "ns" else kind.unit, None if kind.tz is None else "UTC")
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_duration(kind):
        return pa.duration("us")
    if pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_held(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_field.with_type(_held(kind.key_type)), kind.item_field.with_type(_held(kind.item_type)))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_held(kind.value_type)))
    return kind
