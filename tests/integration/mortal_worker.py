"""A worker of requests as a process of its own, `retrain --worker`, with a death at a place of one's choice."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

END_WITH_PARENT = 1
"""prctl(2): PR_SET_PDEATHSIG."""
PLACES = (
    "a due request is sent",
    "a request is read",
    "the input is read",
    "an epoch is kept",
    "the challenger is calibrated",
    "both models are judged",
    "the weights are there",
    "the manifest is written, and has no name",
    "the version is there",
    "the champion has moved",
    "the challenger has moved",
    "the moves are announced",
    "the answer is written, and not committed",
    "the request is answered",
)


LINKED = {
    "weights": (None, "the weights are there"),
    "manifest": ("the manifest is written, and has no name", "the version is there"),
}
"""Before and after a file of a version gets its name."""


def nursery() -> ForkServerContext:
    """Workers are forked from a process that has imported everything already."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["anomaly_daemon.training.retrain", "anomaly_daemon.commands.requests", "kafka"])
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

    sys.exit(cli.main(["retrain", *words, "--worker", "--device", "cpu"]))


def doom(death: str | None) -> None:
    """Production's own calls, and after each the place it has come to."""
    from anomaly_daemon.commands import retrain, train
    from anomaly_daemon.registry.registry import Registry
    from anomaly_daemon.training import build, checkpoint
    from anomaly_daemon.training import retrain as street
    from anomaly_daemon.transport.kafka.requests import RequestQueue

    def reach(place: str | None) -> None:
        if place is not None and place == death:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(owner: Any, name: str, place: Callable[..., str | None]) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def through(*arguments: Any, **keywords: Any) -> Any:
            found = inner(*arguments, **keywords)
            if there := place(found, *arguments, **keywords):
                reach(there)
            return found

        setattr(owner, name, through)

    inner_link, inner_recorded = os.link, train.recorded

    def link(made: str, path: Path) -> None:
        written, there = LINKED.get(path.stem, (None, None))
        reach(written)
        inner_link(made, path)
        reach(there)

    def recorded(*arguments: Any) -> Any:
        yield from inner_recorded(*arguments)
        reach("the input is read")

    os.link, train.recorded = link, recorded  # type: ignore[assignment]
    after(RequestQueue, "ask", lambda *_: "a due request is sent")
    after(RequestQueue, "next", lambda found, *_: "a request is read" if found else None)
    after(checkpoint, "save", lambda *_: "an epoch is kept")
    after(build, "calibrate", lambda *_: "the challenger is calibrated")
    after(street, "decide", lambda *_, **__: "both models are judged")
    after(Registry, "move", lambda _, __, alias, *___, **____: f"the {alias} has moved")
    after(retrain, "announce", lambda *_: "the moves are announced")
    after(RequestQueue, "_written", lambda *_: "the answer is written, and not committed")
    after(RequestQueue, "answer", lambda *_: "the request is answered")
