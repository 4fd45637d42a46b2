"""Starts a command as a separate process, forked from one that has imported everything already: torch alone takes
seconds."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

END_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def nursery(*modules: str) -> ForkServerContext:
    """Return the fork server context, whose processes start with these modules imported."""
    context = get_context("forkserver")
    context.set_forkserver_preload([*modules, "kafka"])
    return context


def begin(context: ForkServerContext, log: Path, life: Callable[..., int], *arguments: Any) -> ForkServerProcess:
    """Start a process that calls `life`, whose result is the exit code. What it prints goes to the file `log`."""
    process = context.Process(target=_live, args=(log, life, arguments))
    process.start()
    return process


def _live(log: Path, life: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(file, standard)
    os.close(file)
    sys.exit(life(*arguments))
