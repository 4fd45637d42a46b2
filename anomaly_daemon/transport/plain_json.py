"""Reads batches of plain JSON objects with the compiled code of `json_scan`."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from anomaly_daemon.detection.observation import Int64
from anomaly_daemon.transport.columns import Column, Table, Texts, Wholes

if TYPE_CHECKING:
    from anomaly_daemon.transport.decimals import Bytes
    from anomaly_daemon.transport.json_scan import Found

FEW = 50
"""Smaller batches are not read faster this way. A process that only has smaller batches never loads the code, which
takes a third of a second."""


SPARE = 8
"""How many values an object may have besides the wanted ones before the order of its names is no longer remembered."""


class PlainJson:
    """Reads objects that hold numbers under some wanted names, and texts or whole numbers under the others."""

    def __init__(self, paths: Sequence[str], numeric: Sequence[str]) -> None:
        self._numeric, self._others = tuple(numeric), tuple(path for path in paths if path not in numeric)
        self._code: ModuleType | None = None

    def read(self, values: Sequence[bytes], rows: Int64) -> Table | None:
        """Return the fields, or None if there are few values, or any object is not that plain or lacks one of the other
        names."""
        if len(values) < FEW:
            return None
        text = b"\0".join([*values, b""])
        if not (text.isascii() or _is_utf8(text)):
            return None
        code, octets = self._loaded(), np.frombuffer(text, np.uint8)
        length_M = np.fromiter(map(len, values), np.int64, len(values))
        stop_M = np.cumsum(length_M + 1) - 1
        found = code.Found.blank(len(values), len(self._numeric), len(self._others))
        if code.scan(octets, stop_M - length_M, stop_M, self._wanted, self._order_W, found) < len(values):
            return None
        columns: dict[str, Column] = {}
        for o, path in enumerate(self._others):
            column = _column(code, text, octets, found, o)
            if column is None:
                return None
            columns[path] = column
        return Table(rows, columns, found.numbers_MD)

    def warm(self) -> None:
        """Read some made-up objects, so that the code is compiled now, or loaded from its cache, and not at the first
        record."""
        made_up = msgspec.json.encode(dict.fromkeys(self._numeric, 1.5) | dict.fromkeys(self._others, "text"))
        self.read([made_up] * FEW, np.arange(FEW))

    def _loaded(self) -> ModuleType:
        """Import the compiled code when it is first needed, because importing numba takes long."""
        if self._code is None:
            from anomaly_daemon.transport import json_scan

            self._code = json_scan
            self._wanted = json_scan.Wanted.of(self._numeric, self._others)
            self._order_W = np.full(len(self._numeric) + len(self._others) + SPARE, -1)
        return self._code


def _column(code: ModuleType, text: bytes, octets: Bytes, found: Found, o: int) -> Column | None:
    """Return what was found under one of the other names, or None if it is missing in an object or differs in kind."""
    kind = found.kind_OM[o, 0]
    if kind == code.NOTHING or not (found.kind_OM[o] == kind).all():
        return None
    if kind == code.WHOLE:
        return Wholes(found.whole_OM[o])
    start_M, stop_M = found.whole_OM[o], found.stop_OM[o]
    slots = np.full(2 << len(start_M).bit_length(), -1)
    first_M, place_M = np.empty(len(start_M), np.int64), np.empty(len(start_M), np.int32)
    count = code.distinct(octets, start_M, stop_M, slots, first_M, place_M)
    each = first_M[:count] if count else slice(None)
    texts = [text[at:stop].decode() for at, stop in zip(start_M[each].tolist(), stop_M[each].tolist(), strict=True)]
    return Texts(tuple(texts), place_M) if count else texts


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
