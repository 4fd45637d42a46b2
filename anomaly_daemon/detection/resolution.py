"""The least deviation that a value is measured in, beside its level.

A field that rests has no deviation of its own, and what it moves by at last would be any number of them: it is measured
in thousandths of its level. So is one of which little is known, for a few values of a slow field lie close together. Once
it is known that it moves (`beginning.ENOUGH`) what it shows is its own, however little that is beside its level (a latitude
moves by 0.00002, mains of 50 Hz by 0.02), down to the last digit of a number in single precision, in which many sensors
count, and to what is left around 0 where numbers of everyday size are subtracted.
"""

from __future__ import annotations

from anomaly_daemon.compiled import compiled

AT_REST = 1e-3
"""Of the level: of a field that rests, and of one of which little is known."""

RELATIVE = 1e-7
"""Of the level: rounding."""

ABSOLUTE = 1e-12
"""Rounding around 0, in the field's own unit."""


@compiled
def rounding(level: float) -> float:
    """What numbers about this level are not told apart by."""
    return max(RELATIVE * abs(level), ABSOLUTE)


@compiled
def least(level: float, own: bool) -> float:
    """The least standard deviation of a field's values about this level. `own`: it is known to move by itself."""
    return rounding(level) if own else max(AT_REST * abs(level), rounding(level))
