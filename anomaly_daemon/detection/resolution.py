"""The least standard deviation that a value is measured in, relative to its level.

A field that rests has no deviation of its own, and when it moves at last, the move would be any number of deviations.
It is therefore measured in thousandths of its level. So is a field of which little is known, because a few values of a
slow field lie close together. Once a field is known to move (`beginning.ENOUGH`), its own deviation counts, however
small it is beside the level (a latitude moves by 0.00002, mains of 50 Hz by 0.02). The limits are then the last digit
of a number in single precision, in which many sensors count, and the rounding error around 0 that is left where numbers
of everyday size are subtracted.
"""

from __future__ import annotations

from anomaly_daemon.compiled import compiled

AT_REST = 1e-3
"""As a share of the level: for a field that rests, or of which little is known."""

RELATIVE = 1e-7
"""As a share of the level: rounding error."""

ABSOLUTE = 1e-12
"""Rounding error around 0, in the field's own unit."""


@compiled
def rounding(level: float) -> float:
    """Return the difference by which numbers about this level cannot be distinguished."""
    return max(RELATIVE * abs(level), ABSOLUTE)


@compiled
def least(level: float, own: bool) -> float:
    """Return the least standard deviation of a field's values about this level. `own`: whether the field is known to
    move, so that its own deviation counts."""
    return rounding(level) if own else max(AT_REST * abs(level), rounding(level))
