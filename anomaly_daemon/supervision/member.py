"""One of the supervised processes: started, watched, told to stop, restarted."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Sequence

from anomaly_daemon.supervision.restart import RestartPolicy

Launch = Callable[[], "subprocess.Popen[bytes]"]


class Member:
    """The process with this number. `launch` starts a new one, with a pipe as its standard input."""

    def __init__(self, number: int, launch: Launch, policy: RestartPolicy, port: int = 0) -> None:
        """`port` is where its pages are served, on the loopback address."""
        self.number, self.port = number, port
        self._launch, self._policy = launch, policy
        self._process: subprocess.Popen[bytes] | None = None
        self._failures, self._due = 0, 0.0
        self.since, self.starts = 0.0, 0
        """Monotonic time of its last start, and how often it was started."""

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process else None

    def start_if_due(self, now: float) -> bool:
        """Start the process unless it is running or its pause is not over. Returns whether it was started now. Raises
        OSError where the system cannot start it, which counts as a failure: the next attempt comes after a pause."""
        if self._process is not None or now < self._due:
            return False
        self.since = now
        try:
            self._process = self._launch()
        except OSError:
            self._failed(now)
            raise
        self.starts += 1
        return True

    def ended(self, now: float) -> int | None:
        """Return the exit code if the process has ended since the last call, else None. The code is negative for a
        signal."""
        code = self._process.poll() if self._process else None
        if self._process is None or code is None:
            return None
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None
        self._failed(now)
        return code

    def _failed(self, now: float) -> None:
        self._failures = self._policy.failures(self._failures, ran_seconds=now - self.since)
        self._due = now + self._policy.pause(self._failures)

    def pause(self, now: float) -> float:
        """Seconds until it may be started again."""
        return max(0.0, self._due - now)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it is running."""
        if self._process is not None:
            self._process.send_signal(number)


def launcher(command: Sequence[str], listening: socket.socket) -> Launch:
    """Return a function that starts this command with the socket that it answers on.

    The process runs in its own session, so that Ctrl-C at a terminal reaches it only through the supervisor, and only
    once. The pipe is its tether: it closes when the supervisor has gone, whatever the reason.
    """
    handed = listening.fileno()
    words = [*command, f"--listen-fd={handed}"]
    return lambda: subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=(handed,), start_new_session=True)
