"""A process that does not outlive the one that started it."""

from __future__ import annotations

import os
import signal
import threading


def leave_with_supervisor(pipe: int = 0) -> None:
    """Stop in good order (SIGTERM) once the other end of this pipe, our supervisor's, is closed: it is gone, and nobody
    else would stop us."""
    threading.Thread(target=_wait, args=(pipe,), name="tether", daemon=True).start()


def _wait(pipe: int) -> None:
    while os.read(pipe, 1024):  # not sys.stdin, whose lock a thread that waits would hold at the end of the process
        pass
    os.kill(os.getpid(), signal.SIGTERM)
