"""Decides when a process that has ended is started again."""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_daemon.errors import ExitCode

FOR_A_PERSON = frozenset(
    {ExitCode.USAGE, ExitCode.INPUT, ExitCode.NO_INPUT, ExitCode.NOT_PERMITTED, ExitCode.CONFIGURATION}
)
"""Exit codes after which another start would end the same way. After every other end, signals included, the process is
restarted."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Pauses before a restart, which double while a process keeps failing."""

    first_seconds: float = 1.0
    most_seconds: float = 60.0
    steady_seconds: float = 120.0
    """A process that ran for this long did not fail at its start: the next pause is the first one again."""

    def failures(self, before: int, *, ran_seconds: float) -> int:
        """Return the number of failures in a row, this one included. `before` is the number without it."""
        return 1 if ran_seconds >= self.steady_seconds else before + 1

    def pause(self, failures: int) -> float:
        """Return the seconds until the next start, after this many failures in a row."""
        return float(min(self.first_seconds * 2.0 ** min(failures - 1, 30), self.most_seconds))
