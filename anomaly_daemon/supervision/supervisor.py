"""The life of several processes: all are started, those that fail are restarted, and one signal stops them all.

A member may end with an exit code that needs a person (a wrong configuration, missing rights). Another start would end
the same way, and so would the other members: all of them are stopped, and the code becomes the exit code of the whole.
After any other end the member is restarted, with a longer pause each time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.signals import listening
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.supervision.member import Member
from anomaly_daemon.supervision.restart import FOR_A_PERSON

LOOK_SECONDS = 0.1
"""Seconds between two checks of the processes."""
GRACE_SECONDS = 5.0
"""Seconds past the members' own stop deadline, in which each can still keep that deadline or end itself."""


class Supervisor:
    """Runs the members as the work of this process. Call `run` from the main thread."""

    def __init__(
        self,
        members: Sequence[Member],
        stop_seconds: float,
        log: FilteringBoundLogger,
        monotonic: Callable[[], float],
    ) -> None:
        self.members, self._stop_seconds, self._log, self._monotonic = tuple(members), stop_seconds, log, monotonic
        self._signals, self._passed_on = 0, 0
        self._stop_by: float | None = None
        self._codes: list[int] = []
        """Exit codes of the members that ended while all were stopping, and of the one that was the reason."""

    def run(self) -> int:
        """Run until all members have stopped. Returns the exit code: the one that needs a person, or else the first
        that is not 0 of a member that was asked to stop."""
        wait = threading.Event().wait
        with listening(self._on_signal):
            while not self._over():
                self.look(self._monotonic())
                wait(LOOK_SECONDS)
        return next((code for code in self._codes if code), int(ExitCode.OK))

    def _on_signal(self) -> None:
        self._signals += 1

    def _over(self) -> bool:
        return self._stop_by is not None and not any(member.running for member in self.members)

    def look(self, now: float) -> None:
        """Check every process once, and act on the signals received."""
        for member in self.members:
            code = member.ended(now)
            if code is not None:
                self._handle_end(member, code, now)
            if self._stop_by is None and not self._signals:
                self._start_if_due(member, now)
        if self._signals > self._passed_on:
            self._passed_on = self._signals
            # Where all are stopping already, a first signal is not passed on: it would be their second, which ends them.
            if self._stop_by is None or self._signals > 1:
                self._stop(now)
        elif self._stop_by is not None and now > self._stop_by:
            self._kill()

    def _start_if_due(self, member: Member, now: float) -> None:
        """Start the member if it is due. Where the system has no room for one more process, it is due again later, and
        the other members go on."""
        try:
            if member.start_if_due(now):
                self._log.info("process started", process=member.number, id=member.process_id)
        except OSError as error:
            again = round(member.pause(now), 1)
            self._log.warning("process not started", process=member.number, error=str(error), again_in_seconds=again)

    def _handle_end(self, member: Member, code: int, now: float) -> None:
        """Handle the end of a member: note its exit code, and stop all members where the code needs a person."""
        if self._stop_by is not None or self._signals:
            self._codes.append(self._as_exit_code(code))
            self._log.info("process ended", process=member.number, exit_code=code)
        elif code in FOR_A_PERSON:
            self._codes.append(code)
            self._log.error("process ended: stopping all processes", process=member.number, exit_code=code)
            self._stop(now)
        else:
            again = round(member.pause(now), 1)
            self._log.warning("process ended", process=member.number, exit_code=code, again_in_seconds=again)

    def _as_exit_code(self, code: int) -> int:
        """Return the exit code that stands for `code`. A member that the first signal ended outright was still starting
        and had nothing to finish, so that counts as OK. Any other signal counts as TEMPORARY."""
        if code == -signal.SIGTERM and self._signals <= 1:
            return int(ExitCode.OK)
        return code if code >= 0 else int(ExitCode.TEMPORARY)

    def _stop(self, now: float) -> None:
        """Stop all members at once. If they stopped one after the other, each would hand its partitions to one that is
        about to stop. A second signal ends a member at once."""
        if self._stop_by is None:
            self._log.info("stopping", processes=sum(member.running for member in self.members))
            self._stop_by = now + self._stop_seconds + GRACE_SECONDS
        for member in self.members:
            member.tell(signal.SIGTERM)

    def _kill(self) -> None:
        for member in self.members:
            if member.running:
                self._log.critical("killed: the stop deadline has passed", process=member.number)
                member.tell(signal.SIGKILL)
