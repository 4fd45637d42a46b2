"""A daemon as a process of its own, with a death at a place on the way of a model into it."""

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
from typing import Any

END_WITH_PARENT = 1
"""prctl(2): PR_SET_PDEATHSIG."""
CHALLENGED = ("a model is loaded", "the challenger has scored")
CHANGED = ("the rows have moved", "the commit is sent, and not made", "the commit is made")
"""The commit is the first that says so."""
STEPS = {"commit": CHANGED[1], "reply": CHANGED[2]}


def nursery() -> ForkServerContext:
    """Daemons are forked from a process that has imported everything already."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["anomaly_daemon.bootstrap", "anomaly_daemon.commands.run", "kafka"])
    return context


def begin(context: ForkServerContext, words: Sequence[str], death: str | None, log: Path) -> ForkServerProcess:
    process = context.Process(target=live, args=(list(words), death, log))
    process.start()
    return process


def live(words: list[str], death: str | None, log: Path) -> None:
    """The whole life, to the exit code."""
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(file, standard)
    doom(death)
    from anomaly_daemon import cli

    sys.exit(cli.main(["run", *words]))


def doom(death: str | None) -> None:
    """Production's own classes, told of where they come to."""
    from anomaly_daemon.daemon.partition import Owned
    from anomaly_daemon.daemon.shadow import Shadow
    from anomaly_daemon.registry.following import Following
    from anomaly_daemon.transport.kafka import delivery

    changed = False

    def reach(place: str | None) -> None:
        if place is not None and place == death:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(owner: Any, name: str, place: str) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def through(self: Any, *arguments: Any) -> Any:
            nonlocal changed
            found = inner(self, *arguments)
            changed = changed or place == CHANGED[0]
            scored = place != CHALLENGED[1] or self._beside
            reach(place if scored else None)
            return found

        setattr(owner, name, through)

    after(Following, "prepared", CHALLENGED[0])
    after(Shadow, "__call__", CHALLENGED[1])
    after(Owned, "succeed", CHANGED[0])

    class Delivery(delivery.KafkaDelivery):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, before=self._step, **keywords)

        def _step(self, step: str) -> None:
            if changed and STEPS.get(step) == death:
                self._producer.flush()  # what was sent is in the broker's log, not in our queue
                reach(death)

    delivery.KafkaDelivery = Delivery  # type: ignore[misc]
