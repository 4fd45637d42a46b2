"""Where most events have no score: then silence does not mean that all is well, and a person has to hear it (law L4)."""

from __future__ import annotations

from collections.abc import Mapping

MOST = 0.5
"""With more of the events without a score than this, it is said, as by the alert rule AnomalyDaemonMostlyUnscored."""

WHY = {
    "warming": "their streams are too short: the first detection.grace_events of each only teach",
    "missing": "they hold no value of any field that stream.numeric names",
    "late": "they are older than the event before them of their stream: sort the records by time, oldest first",
    "duplicate": "they have the time and every value of the event before them of their stream: they were sent twice, or "
    "readings come faster than the times tell (see docs/input.md)",
    "muted": "they lie in windows of detection.mute; where that is not what you want, look at their times and at "
    "stream.timezone",
}
"""What each status without a score means, and what to do."""


def mostly_unscored(by_status: Mapping[str, int], *, apart: str | None = None, crowded_out: int = 0) -> str | None:
    """One line, or None where enough was scored. `apart`: each file begins with state of its own, and this is how the
    files are read as one. `crowded_out`: so many streams were forgotten for others to have room."""
    events, unscored = sum(by_status.values()), {name: by_status.get(name, 0) for name in WHY}
    if sum(unscored.values()) <= MOST * events:
        return None
    name = max(unscored, key=unscored.__getitem__)
    why = WHY[name]
    if name == "warming" and crowded_out:
        why = crowded(crowded_out)
    elif name == "warming" and apart:
        why = f"each file begins with state of its own; files that go on from one another are one input {apart}"
    share = sum(unscored.values()) / events
    return f"{share:.0%} of {events:,} events were not scored, {unscored[name]:,} of them {name}: {why}"


def crowded(crowded_out: int) -> str:
    """Why streams are new again and again."""
    return (
        f"limits.streams is reached: {crowded_out:,} times a stream was forgotten for another to have room, and began anew "
        "if it came back. Raise it, or look at what stream.key is made of"
    )
