"""The alert cap (law L11): past so many opened alerts a minute, a digest says how many were held back. Never silence.

An episode is held back whole: after its open its updates and its close, or subscribers would see the end of something
that never began. What is held back, and not yet told of, stands in the partition's ledger, so a crash does not lose it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from anomaly_daemon.daemon.policy import MinuteLimit, Window
from anomaly_daemon.detection.alert import Alert, Event

HELD_MOST = 10_000
"""Ids of held-back open episodes kept per partition: the ledger that holds them must fit one message. Past it the
oldest is forgotten, and its close is published without its open."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the cap lets through of some alerts."""

    alerts: tuple[Alert, ...]
    held_back: int
    held: tuple[str, ...]
    """Ids of the open episodes held back, the oldest first."""
    window: Window


def admit(alerts: Sequence[Alert], held: Collection[str], window: Window, limit: MinuteLimit, now: float) -> Admitted:
    """Let through what the cap allows at monotonic time `now`."""
    waiting = dict.fromkeys(held)
    through: list[Alert] = []
    for alert in alerts:
        if alert.event is Event.OPEN:
            window = limit.add(window, 1, now=now)
            if limit.passed(window):
                waiting[alert.alert_id] = None
                continue
        if alert.alert_id not in waiting:
            through.append(alert)
        elif alert.event is Event.CLOSE:
            del waiting[alert.alert_id]
    return Admitted(tuple(through), len(alerts) - len(through), tuple(waiting)[-HELD_MOST:], window)
