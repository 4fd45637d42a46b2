"""Numbers of a sample that most likely stand for "missing": what loggers and historians write where a sensor gave nothing.

A guess is made of well-known ones alone, and only where nothing else of the field is anywhere near.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

_NINES = (99.0, 99.9, 99.99, 999.0, 999.9, 999.99, 9999.0, 9999.9, 99999.0, 999999.0)
_FULL = (32767.0, 65535.0, 2147483647.0, 4294967295.0)
"""The largest whole numbers of 16 and 32 bits."""
_VAST = (1e20, 1e30, 1e35, 9.969209968386869e36, float(np.finfo(np.float32).max))
"""The fourth is what NetCDF fills with."""
KNOWN = (
    *(-number for number in (*_NINES, 999.25, 32767.0, 32768.0, 2147483648.0, *_VAST)),
    *(number for number in (*_NINES, *_FULL, *_VAST) if number >= 999),
)
_IN_FLOAT32 = {float(np.float32(number)): number for number in KNOWN} | {number: number for number in KNOWN}

OFTEN = 3
"""As seldom as less it may be a reading."""
ENOUGH = 20
"""Of fewer other numbers nobody knows what is usual."""
FAR = 10.0
"""How many times as far from all others as those are from each other."""
STEADY = 3.0
"""The largest of readings over the smallest; amounts and counts spread further, and an amount of 999 is one."""
BEYOND = 2e9
"""So much is no amount and no count where all others are this far below it."""


def missing_values(numbers: Sequence[float]) -> tuple[float, ...]:
    """Those of `KNOWN` that stand for nothing among these numbers of a field, most likely."""
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


def stands_for_nothing(number: float, missing: Sequence[float]) -> bool:
    """Whether a number is one of these, which `missing_values` gave."""
    return _IN_FLOAT32.get(number) in missing


def shown(number: float) -> str:
    """As YAML reads it: -9999, -999.25, 1.0e+20."""
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    digits, exponent, power = repr(number).partition("e")
    return digits + (".0" if exponent and "." not in digits else "") + exponent + power
