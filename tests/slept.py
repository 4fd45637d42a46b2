"""A clock for code that waits: no real time passes."""

from __future__ import annotations


class Time:
    """A clock that advances only by calls of `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
