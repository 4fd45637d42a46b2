"""A command as a process of its own, forked from one that has imported everything already: torch alone takes seconds."""

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
"""prctl(2): PR_SET_PDEATHSIG."""


def nursery(*modules: str) -> ForkServerContext:
    """Where processes are forked that find these imported."""
    context = get_context("forkserver")
    context.set_forkserver_preload([*modules, "kafka"])
    return context


def begin(context: ForkServerContext, log: Path, life: Callable[..., int], *arguments: Any) -> ForkServerProcess:
    """A process that lives this life, to its exit code; what it prints goes to the file `log`."""
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
