"""Names of record headers that are not UTF-8, which the protocol asks for and no broker sees to.

kafka-python decodes each name strictly, and calls the record corrupt out of `poll` where that fails: a single record of a
producer that knows no better would end every member of the group, one after the other, and again at each start. Nobody
asks for such a header here, so what of its name is no UTF-8 becomes U+FFFD, as in everything else that is shown.
"""

from __future__ import annotations

from typing import Any

from kafka.record.default_records import DefaultRecordBatch


class _Lenient(bytearray):
    """Bytes whose pieces decode to something, whatever they are."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


def let_pass() -> None:
    """For every consumer of this process. It takes effect once, however often it is called."""
    if DefaultRecordBatch._read_msg is not _read_msg:
        _Strict.read = DefaultRecordBatch._read_msg
        DefaultRecordBatch._read_msg = _read_msg


class _Strict:
    """How the client reads a record."""

    read: Any = None


def _read_msg(batch: Any) -> Any:
    """The batch stands where it stood until a record was read whole, so it can be read again."""
    try:
        return _Strict.read(batch)
    except UnicodeDecodeError:
        batch._buffer = _Lenient(batch._buffer)
        return _Strict.read(batch)
