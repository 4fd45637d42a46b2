"""Trying again what is unavailable, within a deadline from which every attempt draws (law L10)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.policy import Clocks, RetryPolicy
from anomaly_daemon.errors import Unavailable

T = TypeVar("T")


class Patience:
    """Calls, and calls again while `Unavailable` is raised; the last one is raised on when time is up."""

    def __init__(self, policy: RetryPolicy, clocks: Clocks, log: FilteringBoundLogger) -> None:
        self._policy, self._clocks, self._log = policy, clocks, log
        self.stop_by = math.inf
        """Monotonic time past which nothing is tried again: set by a stop."""
        self.waiting_until = -math.inf
        """Monotonic time by which the attempt under way ends; in the past when there is none."""
        self.waiting_since = math.inf
        """Monotonic time at which the call under way began, with all its attempts; in the future when there is none."""

    def call(
        self,
        what: str,
        call: Callable[[], T],
        *,
        deadline: float = math.inf,
        between: Callable[[], None] = lambda: None,
    ) -> T:
        """`between` is called after each pause: the caller is alive, whatever the broker does."""
        outer, self.waiting_since = self.waiting_since, self._clocks.monotonic()  # a hand-over calls within a poll
        try:
            return self._call(what, call, min(deadline, self.waiting_since + self._policy.seconds), between)
        finally:
            self.waiting_since = outer

    def _call(self, what: str, call: Callable[[], T], until: float, between: Callable[[], None]) -> T:
        attempt = 0
        while True:
            self.waiting_until = self._clocks.monotonic() + self._policy.seconds
            try:
                return call()
            except Unavailable as error:
                left = min(until, self.stop_by) - self._clocks.monotonic()
                if left <= 0:
                    raise
                self._log.warning("unavailable, trying again", what=what, error=str(error), seconds_left=round(left, 1))
                self._clocks.wait(min(left, self._policy.pause(attempt)))
                attempt += 1
                between()
            finally:
                self.waiting_until = -math.inf
