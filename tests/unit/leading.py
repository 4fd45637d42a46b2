"""Run by torchrun: trainings that the leader aborts at different points, each followed by a complete one.

Prints one JSON line: the exception that ended each training, the last validation loss of each complete one, and how
many threads of gloo are left at the end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from training_samples import SMALL, rows_and_cuts, settings

from anomaly_daemon.errors import DaemonError
from anomaly_daemon.training.chunks import Lane
from anomaly_daemon.training.loop import CPU, Course, follow, train
from anomaly_daemon.training.parallel import Ranks, joined


class GivenUpError(Exception):
    """Raised by the leader to abort a training."""


def given_up(steps: Sequence[list[Lane]], _: str) -> Iterator[list[Lane]]:
    """Abort before the second step."""
    yield steps[0]
    raise GivenUpError


def given_up_at_the_end(steps: Sequence[list[Lane]], _: str) -> Iterator[list[Lane]]:
    """Abort after the last step of an epoch."""
    yield from steps
    raise GivenUpError


class GivenUpLater:
    """Aborts before the first step of the second epoch."""

    def __init__(self) -> None:
        self.epochs = 0

    def __call__(self, steps: Sequence[list[Lane]], _: str) -> Sequence[list[Lane]]:
        self.epochs += 1
        if self.epochs == 2:
            raise GivenUpError
        return steps


def lead(ranks: Ranks, folder: Path) -> dict[str, object]:
    rows, cuts = rows_and_cuts()
    unbounded = [replace(row, values_TD=np.full_like(row.values_TD, np.inf)) for row in rows]
    saved, left, losses = folder / "checkpoint", [], []
    for trained, course in (
        (rows, Course(track=given_up, ranks=ranks)),
        (rows, Course(track=given_up_at_the_end, ranks=ranks)),
        (rows, Course(saved=folder / "missing" / "checkpoint", ranks=ranks)),
        (unbounded, Course(ranks=ranks)),
        ([], Course(ranks=ranks)),
        (rows, Course(saved=saved, track=GivenUpLater(), ranks=ranks)),
    ):
        try:
            train(SMALL, settings(), trained, cuts, course)
        except (GivenUpError, DaemonError) as error:
            left.append(type(error).__name__)
        whole = Course(saved=saved, resume=saved.exists(), ranks=ranks)
        losses.append(train(SMALL, settings(), rows, cuts, whole)[1].curve[-1].validation)
        saved.unlink()
    return {"left": left, "losses": losses}


def threads_of_gloo() -> int:
    names = [told.read_text().strip() for told in Path("/proc/self/task").glob("*/comm")]
    return names.count("pt_gloo_runloop")


if __name__ == "__main__":
    torch.set_num_threads(1)
    told = {}
    with joined(CPU) as (device, ranks):
        if ranks.leads:
            told = lead(ranks, Path(sys.argv[1]))
        else:
            follow(ranks, device)
    if ranks.leads:
        sys.stdout.write(json.dumps(told | {"threads": threads_of_gloo()}) + "\n")
