"""The alert cap (law L11). When more alerts are opened in a minute than the limit allows, a digest says how many were
held back, so that alerts never disappear unannounced.

An episode is held back as a whole: after its open message also its updates and its close, or subscribers would see the
end of an episode that never began for them. The ids of open episodes that are held back, and the number of alerts not
yet reported in a digest, are stored in the partition's ledger, so a crash does not lose them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from anomaly_daemon.daemon.policy import MinuteLimit, Window
from anomaly_daemon.detection.alert import Alert, Event

MOST_HELD_BACK = 10_000
"""The most ids of held-back open episodes that are kept per partition, because the ledger that holds them must fit into
one message. Beyond that number the oldest id is forgotten, and the later messages of that episode, its close included,
are published without its open."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The result of applying the cap to some alerts: those it lets through, and what it holds back."""

    alerts: tuple[Alert, ...]
    held_back: int
    held: tuple[str, ...]
    """Ids of the open episodes that are held back, the oldest first."""
    window: Window


def admit(alerts: Sequence[Alert], held: Collection[str], window: Window, limit: MinuteLimit, now: float) -> Admitted:
    """Let through what the cap allows at monotonic time `now`. `held` has the ids of the open episodes held back so
    far."""
    held_back = dict.fromkeys(held)
    through: list[Alert] = []
    for alert in alerts:
        if alert.event is Event.OPEN:
            window = limit.add(window, 1, now=now)
            if limit.passed(window):
                held_back[alert.alert_id] = None
                continue
        if alert.alert_id not in held_back:
            through.append(alert)
        elif alert.event is Event.CLOSE:
            del held_back[alert.alert_id]
    return Admitted(tuple(through), len(alerts) - len(through), tuple(held_back)[-MOST_HELD_BACK:], window)
