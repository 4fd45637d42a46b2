"""Finds numbers of a sample that most likely stand for "missing", as loggers and historians write them where a sensor
gave no value.

Only well-known numbers are suggested, and only if no other value of the field is anywhere near.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

_NINES = (99.0, 99.9, 99.99, 999.0, 999.9, 999.99, 9999.0, 9999.9, 99999.0, 999999.0)
_FULL = (32767.0, 65535.0, 2147483647.0, 4294967295.0)
"""The largest whole numbers of 16 and 32 bits, signed and unsigned."""
_VAST = (1e20, 1e30, 1e35, 9.969209968386869e36, float(np.finfo(np.float32).max))
"""The fourth is NetCDF's fill value."""
KNOWN = (
    *(-number for number in (*_NINES, 999.25, 32767.0, 32768.0, 2147483648.0, *_VAST)),
    *(number for number in (*_NINES, *_FULL, *_VAST) if number >= 999),
)
_IN_FLOAT32 = {float(np.float32(number)): number for number in KNOWN} | {number: number for number in KNOWN}

OFTEN = 3
"""A number that occurs less often than this may be a reading."""
ENOUGH = 20
"""With fewer other numbers than this, their usual range is not known."""
FAR = 10.0
"""The number must be further from all others than so many times their range."""
STEADY = 3.0
"""The largest ratio of the largest to the smallest reading. Amounts and counts spread further, and 999 may well be one
of them."""
BEYOND = 2e9
"""Above this, a number that is so far from all others is not an amount or a count."""


def missing_values(numbers: Sequence[float]) -> tuple[float, ...]:
    """Return those of `KNOWN` that most likely stand for "missing" among these numbers of a field."""
    counts = Counter(_IN_FLOAT32[number] for number in numbers if number in _IN_FLOAT32)
    often = [number for number, count in counts.items() if count >= OFTEN]
    others = [number for number in numbers if math.isfinite(number) and _IN_FLOAT32.get(number) not in often]
    if not often or len(others) < ENOUGH:
        return ()
    low, high = min(others), max(others)
    steady = low < 0 or high <= STEADY * low
    return tuple(
        number
        for number in sorted(often)
        if max(low - number, number - high) > FAR * (high - low) > 0 and (number < 0 or number > BEYOND or steady)
    )


def is_sentinel(number: float, missing: Sequence[float]) -> bool:
    """Whether the number is one of `missing`, which is a result of `missing_values`."""
    return _IN_FLOAT32.get(number) in missing


def shown(number: float) -> str:
    """Return the number as YAML reads it: -9999, -999.25, 1.0e+20."""
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    digits, exponent, power = repr(number).partition("e")
    return digits + (".0" if exponent and "." not in digits else "") + exponent + power
