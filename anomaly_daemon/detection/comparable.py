"""A stream's first values, while none of them can be called an outlier yet: which of them say nothing of each other.

What is usual is at first the mean of what came, and one value of 1e29 among readings of 20 would be most of it for longer
than any memory lasts: nothing stands out of its square for years. So where a value and those before it are this far apart,
whichever is wrong, what is known begins anew with the value; where that is the wrong one, once more with the next.

A stream that goes to and fro between two such kinds would begin anew for ever, and never be judged. So both are needed: a
size that no counter has and no time, and a distance that no reading is from another. What is less is left to the memory.
"""

from __future__ import annotations

from anomaly_daemon.compiled import compiled

ABSURD = 1e20
"""No counter of 64 bits comes so far, and no time in nanoseconds: 0 and 2**64 are readings of one field."""

APART = 1e12
"""So many times larger, and larger than so many of a field's units."""


@compiled
def apart(x: float, mean: float, deviation: float) -> bool:
    """Whether a value and those before it cannot be of one kind."""
    value, usual = abs(x), max(abs(mean), deviation)
    smaller, larger = min(value, usual), max(value, usual)
    return bool(larger > ABSURD and larger > APART * max(smaller, 1.0))
