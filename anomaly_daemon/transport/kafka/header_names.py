"""Accepts record headers whose names are not UTF-8. The protocol demands UTF-8, but no broker checks it.

kafka-python decodes each name strictly. Where that fails, `poll` raises an error that calls the record corrupt. A
single record of a faulty producer would thus end every member of the group, one after the other, and again at each
start. This program asks for no such header, so bytes of a name that are not UTF-8 become U+FFFD, as in everything else
that is shown.
"""

from __future__ import annotations

from typing import Any

from kafka.record.default_records import DefaultRecordBatch


class _Lenient(bytearray):
    """A bytearray whose slices always decode: what is invalid becomes U+FFFD."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


def let_pass() -> None:
    """Accept such names in every consumer of this process. A second call has no effect."""
    if DefaultRecordBatch._read_msg is not _read_msg:
        _Strict.read = DefaultRecordBatch._read_msg
        DefaultRecordBatch._read_msg = _read_msg


class _Strict:
    """Keeps the client's own function that reads a record."""

    read: Any = None


def _read_msg(batch: Any) -> Any:
    """Read a record, and where its header names are not UTF-8, read it again leniently. The client advances the batch's
    position only after a record was read completely, so that it can be read again."""
    try:
        return _Strict.read(batch)
    except UnicodeDecodeError:
        batch._buffer = _Lenient(batch._buffer)
        return _Strict.read(batch)
