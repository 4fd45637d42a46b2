"""Makes a process end when the one that started it has gone."""

from __future__ import annotations

import os
import signal
import threading


def leave_with_supervisor(pipe: int = 0) -> None:
    """Stop in an orderly way (SIGTERM) once the other end of this pipe, which the supervisor holds, is closed. Then the
    supervisor has gone, and no other process would stop this one."""
    threading.Thread(target=_wait, args=(pipe,), name="tether", daemon=True).start()


def _wait(pipe: int) -> None:
    while os.read(pipe, 1024):  # not sys.stdin: a waiting thread would hold its lock at the end of the process
        pass
    os.kill(os.getpid(), signal.SIGTERM)
