"""Why a record is rejected. Each reason is a label of a metric and a header of a dead letter, so the list is closed."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Int64

ONE_EACH = "a record is one object: set stream.unnest, or split them beforehand (docs/input.md)"


class Reason(StrEnum):
    """The reasons. docs/input.md describes when each is given and what to do."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    BAD_UTF8 = "bad_utf8"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    NO_COLUMNS = "no_columns"
    NO_SCHEMA = "no_schema"
    MISSING_KEY = "missing_key"
    BAD_KEY = "bad_key"
    MISSING_TIME = "missing_time"
    BAD_TIME = "bad_time"
    TIME_AHEAD = "time_ahead"
    MISSING_METRIC = "missing_metric"
    TOO_MANY_READINGS = "too_many_readings"
    LATE = "late"
    """Not given by the decoder, but by the worker under `stream.late: dead_letter`."""


class Unreadable(Exception):  # noqa: N818 - a reason, which becomes a dead letter's
    """A message that cannot be read, raised within the decoder."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class NoSchema(Exception):  # noqa: N818 - a reason, told to whoever reads the dead letter
    """There is no schema with which the record could be read. The text is the detail of the dead letter."""


class Rejected(NamedTuple):
    """A record of the batch that becomes a dead letter. `row` is its place in the batch."""

    row: int
    reason: Reason
    detail: str


class Rejections:
    """The rejected rows of one batch, each with the first reason that was given for it."""

    def __init__(self) -> None:
        self._by_row: dict[int, Rejected] = {}

    def add(self, row: int, reason: Reason, detail: str) -> None:
        self._by_row.setdefault(row, Rejected(row, reason, detail))

    def __contains__(self, row: int) -> bool:
        return row in self._by_row

    def accepted(self, rows: Int64) -> npt.NDArray[np.bool_]:
        """Return a mask as long as `rows`: which of them are not rejected."""
        return np.isin(rows, np.fromiter(self._by_row, np.int64, len(self._by_row)), invert=True)

    def __len__(self) -> int:
        return len(self._by_row)

    def __iter__(self) -> Iterator[Rejected]:
        """Iterate in row order."""
        return (self._by_row[row] for row in sorted(self._by_row))
