"""When a process that has ended is started again."""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_daemon.errors import ExitCode

FOR_A_PERSON = frozenset(
    {ExitCode.USAGE, ExitCode.INPUT, ExitCode.NO_INPUT, ExitCode.NOT_PERMITTED, ExitCode.CONFIGURATION}
)
"""Another start would end the same way. Everything else, signals too, is tried again."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Pauses that double while a process keeps failing."""

    first_seconds: float = 1.0
    most_seconds: float = 60.0
    steady_seconds: float = 120.0
    """What ran for this long has not failed at the start: the next pause is the first again."""

    def failures(self, before: int, *, ran_seconds: float) -> int:
        """Failures in a row, this one included."""
        return 1 if ran_seconds >= self.steady_seconds else before + 1

    def pause(self, failures: int) -> float:
        """Seconds until the next start, after so many failures in a row."""
        return float(min(self.first_seconds * 2.0 ** min(failures - 1, 30), self.most_seconds))
