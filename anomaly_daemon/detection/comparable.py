"""A stream's first values, while none of them can be called an outlier yet: which of them say nothing of each other.

What is usual is at first the mean of what came, and one value of 1e29 among readings of 20 would be most of it for longer
than any memory lasts: nothing stands out of its square for years. So where a value and those before it are this far apart,
whichever is wrong, what is known begins anew with the value; where that is the wrong one, once more with the next.
"""

from __future__ import annotations

from anomaly_daemon.compiled import compiled

APART = 1e12
"""So many times larger, and larger than so many of a field's units: between readings there is no such step, not from
nothing to a counter of bytes or to a time in seconds. Less than that is left to the memory."""


@compiled
def apart(x: float, mean: float, deviation: float) -> bool:
    """Whether a value and those before it cannot be of one kind."""
    value, usual = abs(x), max(abs(mean), deviation)
    return bool(value > APART * max(usual, 1.0) or usual > APART * max(value, 1.0))
