"""Messages that are none of ours: said on standard error, the first few. A topic may hold others' messages."""

from __future__ import annotations

import sys

MOST_TOLD = 5
"""Messages that cannot be read, and are told of one by one."""


class PassedOver:
    """What was read, and what was not."""

    def __init__(self) -> None:
        self.count, self._read = 0, False

    def note(self, error: Exception) -> None:
        """One that cannot be read."""
        self.count += 1
        if self.count <= MOST_TOLD:
            print(f"anomaly-daemon: passed over: {error}", file=sys.stderr)
        elif self.count == MOST_TOLD + 1:
            print("anomaly-daemon: passed over: more, which are not told of", file=sys.stderr)

    def read(self) -> None:
        """One that can."""
        self._read = True

    def alone(self) -> bool:
        """Whether nothing else was there."""
        return self.count > 0 and not self._read
