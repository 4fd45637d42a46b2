"""A member of the group as a process of its own: `anomaly-daemon run`, but for its fate."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from chaos.fate import Death, Fate

END_WITH_PARENT = 1
"""prctl(2): PR_SET_PDEATHSIG."""


def nursery() -> ForkServerContext:
    """Members are forked from a process that has imported everything already: torch alone takes seconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["anomaly_daemon.bootstrap", "anomaly_daemon.commands.run", "kafka"])
    return context


def begin(context: ForkServerContext, overrides: Sequence[str], death: Death | None, log: Path) -> ForkServerProcess:
    """A new member with these settings; its log is the file `log`."""
    process = context.Process(target=live, args=(list(overrides), death, log))
    process.start()
    return process


def live(overrides: Sequence[str], death: Death | None, log: Path) -> None:
    """The whole life, to the exit code. Idle timers are off: they go by a clock, so two runs may differ by them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL)
    _write_to(log)

    from anomaly_daemon import bootstrap, cli
    from anomaly_daemon.transport.kafka import delivery, snapshots, source
    from chaos.mortal import mortal

    doomed = mortal(Fate(death))
    delivery.KafkaDelivery = doomed["KafkaDelivery"]  # type: ignore[misc]
    snapshots.KafkaSnapshots = doomed["KafkaSnapshots"]  # type: ignore[misc]
    source.KafkaSource = doomed["KafkaSource"]  # type: ignore[misc]
    bootstrap.build_worker = functools.partial(bootstrap.build_worker, idle_timers=False)
    sys.exit(cli.main(["run", *(f"--set={override}" for override in overrides)]))


def _write_to(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(file, standard)
    os.close(file)
