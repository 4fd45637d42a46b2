"""Counts messages that this program cannot read, and reports the first few on standard error. A topic may hold messages
of other programs."""

from __future__ import annotations

import sys

MAX_REPORTED = 5
"""Number of unreadable messages that are reported one by one."""


class UnreadableMessages:
    """Counts unreadable messages, and notes whether any message could be read."""

    def __init__(self) -> None:
        self.count, self._any_readable = 0, False

    def note(self, error: Exception) -> None:
        """Count a message that cannot be read, and report it if it is one of the first."""
        self.count += 1
        if self.count <= MAX_REPORTED:
            print(f"anomaly-daemon: skipped: {error}", file=sys.stderr)
        elif self.count == MAX_REPORTED + 1:
            print("anomaly-daemon: skipped: more, which are not reported one by one", file=sys.stderr)

    def note_readable(self) -> None:
        """Note that a message could be read."""
        self._any_readable = True

    def are_all(self) -> bool:
        """Whether there were unreadable messages and no others."""
        return self.count > 0 and not self._any_readable
