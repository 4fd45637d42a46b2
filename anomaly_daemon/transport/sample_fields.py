"""Describes one field of a sample: how often it is there, and whether it holds numbers, times or texts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly_daemon.transport.columns import text_of
from anomaly_daemon.transport.sample_cells import number_of
from anomaly_daemon.transport.sample_missing import is_sentinel, missing_values
from anomaly_daemon.transport.sample_names import names_counter
from anomaly_daemon.transport.sample_rows import Row

MOSTLY = 0.9
"""A field is of a kind (such as numbers) if at least this share of its values is."""
HEAVY_TAIL = 8.0
"""If the 99th percentile is more than so many medians, a logarithm is suggested. It is near 3 medians in a normal
distribution whose standard deviation equals its mean."""
REFUNDS = 0.05
"""The share of negative values that a field of amounts may have."""
_ENOUGH = 20
MOST_CLASSES = 64
"""Whole numbers with no more distinct values than this may be names of classes."""
_LEADING_ZERO = re.compile(r"[+-]?0\d")


@dataclass(frozen=True, slots=True)
class FieldSeen:
    """One field of the sample. `values` are the values that are there, `numbers` those of them that are numbers."""

    path: str
    values: tuple[Any, ...]
    numbers: tuple[float, ...]
    missing_share: float
    distinct: int
    examples: tuple[str, ...]
    quoted: bool = False
    """JSON: whether numbers, all or some of them, are in quotes."""
    sentinels: tuple[float, ...] = ()
    """Those of the numbers that most likely stand for "missing"."""
    rises: bool = False
    """Whether it only rises within each stream, except for restarts."""
    rises_in: tuple[str, ...] = ()
    """The streams in which it only rises, if it does not in others."""
    declared: bool = False
    """Whether the format itself declares it to be a counter."""

    @property
    def numeric(self) -> bool:
        """Whether nearly all values are numbers. JSON text counts as a number if it looks like measurements and not
        like names."""
        return bool(self.values) and len(self.numbers) >= MOSTLY * len(self.values)

    @property
    def whole(self) -> bool:
        return self.numeric and all(number.is_integer() for number in self.numbers if math.isfinite(number))

    @property
    def textual(self) -> bool:
        return bool(self.values) and not self.numeric

    @property
    def readings(self) -> list[float]:
        """The numbers that are finite and do not stand for "missing"."""
        finite = [number for number in self.numbers if math.isfinite(number)]
        return [number for number in finite if not is_sentinel(number, self.sentinels)] if self.sentinels else finite

    def range(self) -> tuple[float, float]:
        readings = self.readings
        return (min(readings), max(readings)) if readings else (math.nan, math.nan)

    @property
    def counter(self) -> bool:
        """Whether it only rises, and its format or its name says that it counts."""
        return self.declared or (self.rises and names_counter(self.path))

    def heavy_tailed(self) -> bool:
        """Whether the values spread upward over orders of magnitude and are hardly ever negative. A few negative
        amounts may be refunds."""
        readings = np.array(self.readings)
        if len(readings) < _ENOUGH or np.mean(readings < 0) > REFUNDS:
            return False
        median, high = np.quantile(readings, [0.5, 0.99])
        return bool(median > 0 and high / median > HEAVY_TAIL)


def look_at(path: str, rows: Sequence[Row], json: bool) -> FieldSeen:
    """Return what the field at `path` holds over all rows. `json`: text is only a number if it looks like a
    measurement."""
    values = tuple(value for row in rows if (value := row.get(path)) is not None and value != "")
    quoted = json and _measurements([value for value in values if isinstance(value, str)])
    numbers = tuple(
        found
        for value in values
        if (quoted or not (json and isinstance(value, str))) and (found := number_of(value)) is not None
    )
    texts = dict.fromkeys(text for value in values if (text := text_of(value) or repr(value)))
    missing = 1 - len(values) / len(rows) if rows else 0.0
    examples, sentinels = tuple(list(texts)[:3]), missing_values(numbers)
    return FieldSeen(path, values, numbers, missing, len(texts), examples, quoted, sentinels)


def _measurements(texts: Sequence[str]) -> bool:
    """Whether these texts are measurements in quotes: numbers without leading zeros, which have fractions, or are whole
    with many distinct values."""
    numbers = [number for text in texts if (number := number_of(text)) is not None and math.isfinite(number)]
    if not texts or len(numbers) < MOSTLY * len(texts) or any(_LEADING_ZERO.match(text) for text in texts):
        return False
    return not all(number.is_integer() for number in numbers) or len(set(numbers)) > MOST_CLASSES
