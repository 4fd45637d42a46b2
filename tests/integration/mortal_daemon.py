"""A daemon as a separate process that can die at a chosen place while a new model is introduced into it."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import forked

CHALLENGED = ("a model is loaded", "the challenger has scored")
CHANGED = ("the rows have moved", "the commit is sent, and not made", "the commit is made")
"""The places of a change of model. The commit is the first to record the change."""
STEPS = {"commit": CHANGED[1], "reply": CHANGED[2]}


def nursery() -> ForkServerContext:
    """Return the fork server context from which daemons are forked."""
    return forked.nursery("anomaly_daemon.bootstrap", "anomaly_daemon.commands.run")


def begin(context: ForkServerContext, words: Sequence[str], death: str | None, log: Path) -> ForkServerProcess:
    """Start a daemon that dies at this place. Its log is the file `log`."""
    return forked.begin(context, log, live, list(words), death)


def live(words: list[str], death: str | None) -> int:
    """Run the daemon and return its exit code."""
    doom(death)
    from anomaly_daemon import cli

    return cli.main(["run", *words])


def doom(death: str | None) -> None:
    """Patch the production classes so that the process kills itself when it reaches the place `death`."""
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
                self._producer.flush()  # so that what was sent is in the broker's log, and not in this process's buffer
                reach(death)

    delivery.KafkaDelivery = Delivery  # type: ignore[misc]
