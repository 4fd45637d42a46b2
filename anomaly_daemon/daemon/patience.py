"""Retries a call that is unavailable, within one deadline for all of its attempts (law L10)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.policy import Clocks, RetryPolicy
from anomaly_daemon.errors import Unavailable

T = TypeVar("T")


class Patience:
    """Makes a call, and repeats it while it raises `Unavailable`. When the time is up, the last `Unavailable` is
    raised."""

    def __init__(self, policy: RetryPolicy, clocks: Clocks, log: FilteringBoundLogger) -> None:
        self._policy, self._clocks, self._log = policy, clocks, log
        self.stop_by = math.inf
        """Monotonic time after which nothing is retried. It is set by a stop."""
        self.waiting_until = -math.inf
        """Monotonic time by which the attempt under way should end; in the past when there is none."""
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
        """Return the result of `call`, which is retried until `deadline` (monotonic) or for the policy's time,
        whichever is shorter. `between` is called after each pause, so that the caller can show that it is alive,
        whatever the broker does."""
        outer, self.waiting_since = self.waiting_since, self._clocks.monotonic()  # a hand-over makes calls in a poll
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
