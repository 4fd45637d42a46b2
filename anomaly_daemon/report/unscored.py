"""Reports when most events have no score. The absence of alarms then does not mean that all is well, and an operator
must be told (law L4)."""

from __future__ import annotations

from collections.abc import Mapping

MOST = 0.5
"""The share of events without a score above which this is reported, as the alert rule AnomalyDaemonMostlyUnscored
does."""

WHY = {
    "warming": "their streams are too short: the first detection.grace_events of each are only learned from",
    "missing": "they hold no value of any field that stream.numeric names",
    "late": "they are older than the event before them of their stream: sort the records by time, oldest first",
    "duplicate": "they have the time and every value of the event before them of their stream: they were sent "
    "twice, or readings come faster than the resolution of the times (see docs/input.md)",
    "muted": "they lie in windows of detection.mute; if that is not intended, check their times and stream.timezone",
}
"""The meaning of each status without a score, and what to do about it."""


def mostly_unscored(by_status: Mapping[str, int], *, apart: str | None = None, crowded_out: int = 0) -> str | None:
    """Return one line with the main reason; None where enough events were scored. `apart`: given where each file begins
    with its own state, and says how to read the files as one input. `crowded_out`: how often a stream was evicted to
    make room for another."""
    events, unscored = sum(by_status.values()), {name: by_status.get(name, 0) for name in WHY}
    if sum(unscored.values()) <= MOST * events:
        return None
    name = max(unscored, key=unscored.__getitem__)
    why = WHY[name]
    if name == "warming" and crowded_out:
        why = crowded(crowded_out)
    elif name == "warming" and apart:
        why = (
            "each file begins with a state of its own; files that continue one another can be read as one "
            f"input {apart}"
        )
    share = sum(unscored.values()) / events
    return f"{share:.0%} of {events:,} events were not scored, {unscored[name]:,} of them {name}: {why}"


def crowded(crowded_out: int) -> str:
    """Return the line that explains why streams are new again and again."""
    return (
        f"limits.streams is reached: {crowded_out:,} times a stream was dropped to make room for another, and "
        "started from scratch if it returned. Raise it, or check which fields stream.key names"
    )
