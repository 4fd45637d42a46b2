"""The steps of a delivery at which crash tests interrupt it; the same for every transport."""

from __future__ import annotations

STEPS = ("begin", "alerts", "dead_letters", "snapshots", "positions", "commit", "reply")
"""In order. A crash test can interrupt a delivery before each of these steps. Only `reply` comes after the commit."""


def carry_on(_step: str) -> None:
    """The crash hook of a delivery that is not interrupted."""
