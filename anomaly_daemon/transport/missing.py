"""Values that stand for "missing": what the operator lists under `missing_values` is absent, in every format.

Shapes: N readings, D numeric features, J numbers that stand for "missing" in some feature.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Float64, Int64, Presence, UInt8
from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport.columns import FROM_COMMA, Column, finite, number_of_text

ALL = slice(None)


class ValueFilter:
    """Marks the decoded numbers that are not sound readings. Numbers that stand for "missing" become ABSENT. Of the
    others, those that are not finite or above `stream.magnitude_limit` become NOT_FINITE."""

    def __init__(self, stream: StreamSettings) -> None:
        self._limit = stream.magnitude_limit
        every = stream.missing_values
        named = [[_as_read(value, stream) for value in (*every, *field.missing_values)] for field in stream.numeric]
        numbers = [_in_both_precisions(value for value in values if isinstance(value, float)) for values in named]
        self._sentinels_JD = np.full((max(map(len, numbers), default=0), len(named)), np.nan)
        for feature, of_feature in enumerate(numbers):
            self._sentinels_JD[: len(of_feature), feature] = of_feature
        self._texts = [frozenset(value.lower() for value in values if isinstance(value, str)) for values in named]
        self._some_text = any(self._texts)

    def numbers(self, values: Float64, presence: UInt8, features: Int64 | slice = ALL) -> tuple[Float64, UInt8]:
        """Return the values and presence with such numbers marked. `values` has the shape [N, D], for all features, or
        [N], where `features` gives the feature of each value."""
        if len(self._sentinels_JD):
            is_sentinel = np.any([values == sentinel_D[features] for sentinel_D in self._sentinels_JD], axis=0)
            presence = np.where(is_sentinel, np.uint8(Presence.ABSENT), presence)
            values = np.where(is_sentinel, np.nan, values)
        return finite(values, presence, self._limit)

    def texts(self, column: Column, values_N: Float64, presence_N: UInt8, feature_N: npt.ArrayLike) -> None:
        """Mark as ABSENT, in place, each value that was read as no number or no finite one, and whose text stands for
        "missing"."""
        if not self._some_text:
            return
        odd_N = ~np.isfinite(values_N) & (presence_N != Presence.ABSENT)
        feature_N = np.broadcast_to(feature_N, values_N.shape)
        for row in np.flatnonzero(odd_N).tolist():
            value = column[row]
            if isinstance(value, str) and value.strip().lower() in self._texts[feature_N[row]]:
                values_N[row], presence_N[row] = np.nan, Presence.ABSENT


def _as_read(value: float | str, stream: StreamSettings) -> float | str:
    """Return the configured value as the stream's own values are read. With a decimal comma, a text may be a number."""
    if isinstance(value, str) and stream.decimal == "," and (stream.format == "csv" or stream.text_numbers):
        with suppress(ValueError):
            number = number_of_text(value.translate(FROM_COMMA))
            return number if np.isfinite(number) else value
    return value


def _in_both_precisions(numbers: Iterable[float]) -> list[float]:
    """Return the numbers, and each of them rounded to float32, as packed messages of 4-byte values and float32 columns
    have it. Numbers too small for float32 are not added in that form, as they would be 0, nor are numbers too large for
    it."""
    exact = list(numbers)
    with np.errstate(over="ignore"):
        short = np.array(exact, np.float64).astype(np.float32).astype(np.float64)
    return list(dict.fromkeys([*exact, *short[np.isfinite(short) & (short != 0.0)].tolist()]))
