"""The steps of a delivery, by which crash tests kill it; the same for every transport."""

from __future__ import annotations

STEPS = ("begin", "alerts", "dead_letters", "snapshots", "positions", "commit", "reply")
"""In order; a crash test dies before any of these. Only `reply` comes after the commit."""


def carry_on(_step: str) -> None:
    """The crash hook of a delivery that is not to die."""
