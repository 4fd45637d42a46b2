"""One of the processes: started, watched, told to stop, started again."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Sequence

from anomaly_daemon.supervision.restart import RestartPolicy

Launch = Callable[[], "subprocess.Popen[bytes]"]


class Member:
    """Process `number`; `launch` makes a new one, with a pipe as its standard input."""

    def __init__(self, number: int, launch: Launch, policy: RestartPolicy, port: int = 0) -> None:
        """`port`: where its pages are, on loopback."""
        self.number, self.port = number, port
        self._launch, self._policy = launch, policy
        self._process: subprocess.Popen[bytes] | None = None
        self._failures, self._due = 0, 0.0
        self.since, self.starts = 0.0, 0
        """When it was last started, by the monotonic clock, and how often it was."""

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process else None

    def start_if_due(self, now: float) -> bool:
        """Whether it was started now: not while it runs, nor before its pause is over."""
        if self._process is not None or now < self._due:
            return False
        self._process, self.since, self.starts = self._launch(), now, self.starts + 1
        return True

    def ended(self, now: float) -> int | None:
        """The exit code, once, if it has ended since this was last asked; negative for a signal."""
        code = self._process.poll() if self._process else None
        if self._process is None or code is None:
            return None
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None
        self._failures = self._policy.failures(self._failures, ran_seconds=now - self.since)
        self._due = now + self._policy.pause(self._failures)
        return code

    def pause(self, now: float) -> float:
        """Seconds until it may be started again."""
        return max(0.0, self._due - now)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)


def launcher(command: Sequence[str], listening: socket.socket) -> Launch:
    """Starts this command with the socket that it answers on.

    In a session of its own, so that Ctrl-C at a terminal reaches it through us alone, and once. The pipe is its tether:
    it closes when we are gone, however we went.
    """
    handed = listening.fileno()
    words = [*command, f"--listen-fd={handed}"]
    return lambda: subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=(handed,), start_new_session=True)
