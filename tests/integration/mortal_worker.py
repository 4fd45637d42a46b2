"""`retrain --worker`, which works on training requests, as a separate process that can die at a chosen place."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import forked

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
"""The places before and after a file of a version gets its name."""


def nursery() -> ForkServerContext:
    """Return the fork server context from which workers are forked."""
    return forked.nursery("anomaly_daemon.training.retrain", "anomaly_daemon.commands.requests")


def begin(context: ForkServerContext, words: Sequence[str], death: str | None, log: Path) -> ForkServerProcess:
    """Start a worker that dies at this place. Its log is the file `log`."""
    return forked.begin(context, log, live, list(words), death)


def live(words: list[str], death: str | None) -> int:
    """Run the worker and return its exit code."""
    doom(death)
    from anomaly_daemon import cli

    return cli.main(["retrain", *words, "--worker", "--device", "cpu"])


def doom(death: str | None) -> None:
    """Patch the production functions so that the process kills itself when it reaches the place `death`."""
    from anomaly_daemon.commands import challenger, train
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
    after(challenger, "announce", lambda *_: "the moves are announced")
    after(RequestQueue, "_write", lambda *_: "the answer is written, and not committed")
    after(RequestQueue, "answer", lambda *_: "the request is answered")
