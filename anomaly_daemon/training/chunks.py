"""Batches for truncated back-propagation through time, BPTT(stride, window) of Williams and Peng (1990).

A row is cut into *runs* of consecutive events. A run starts from the blank state of a stream without any events, and is
processed in windows that begin `stride` events apart. The state at a window's start is carried over from the window
before it. So the network learns from states as old as a run, while gradients reach back one window. The cuts move
between epochs.

Runs start from the blank state, without a burn-in, because this also happens in production: to a new stream, and to
every stream after a change of model, when its state is rebuilt from a few recent events. The network should learn to be
useful soon after such a start.

A shorter window is padded at its end and masked: padding has no value, no class and no loss, and no state is taken from
behind it. Shapes: B rows in a chunk, T events, D values, C fields, X context inputs, R reconstructed events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from anomaly_daemon.detection.network import Inputs
from anomaly_daemon.training.dataset import Cuts, Part
from anomaly_daemon.training.rows import NO_CLASS, Row

RUN_WINDOWS = 16
"""The largest number of windows in a run. Beyond it the state hardly depends on where the run started, and more,
shorter runs shuffle better."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive events [start, stop) of one row, all in the same part."""

    row: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Lane:
    """One window of a run, which begins at event `position`. `previous` is the index of the run's preceding window in
    the previous chunk; -1 for the first window of a run."""

    run: Run
    position: int
    previous: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One batch. `inputs.classes` are the network's inputs, `targets` [B, T, C] the classes to predict (-1: nothing to
    predict)."""

    inputs: Inputs
    targets: Tensor
    past_values: Tensor
    """[B, R - 1 or more, D]: the values before the window in its run; 0 and masked where there are none."""
    past_mask: Tensor
    recorded: Tensor
    """[B, T]: 1 for an event, 0 for padding."""
    previous: Tensor
    """[B] int64: see `Lane.previous`."""

    def to(self, device: torch.device) -> Chunk:
        """Return a copy of the chunk on `device`."""
        rest = (self.targets, self.past_values, self.past_mask, self.recorded, self.previous)
        return Chunk(Inputs(*(one.to(device) for one in self.inputs)), *(one.to(device) for one in rest))


def run_events(events: int, batch: int, window: int, stride: int) -> int:
    """Return the number of events in a run: as many as leave two runs for every row of a batch, and at most
    `RUN_WINDOWS` windows."""
    windows = min(max(events // (2 * batch * stride), 1), RUN_WINDOWS)
    return window + (windows - 1) * stride


def shuffled_runs(rows: Sequence[Row], cuts: Cuts, length: int, random: np.random.Generator) -> list[Run]:
    """Return the training part as runs of `length` events. The cuts are at a random phase, the order is random."""
    runs = []
    for place, row in enumerate(rows):
        start, stop = cuts.span(row.time_T, Part.TRAINING)
        phase = int(random.integers(length)) if stop - start > length else 0
        edges = sorted({start, stop, *range(start + phase, stop, length)} if stop > start else set())
        runs += [Run(place, first, last) for first, last in pairwise(edges)]
    return [runs[place] for place in random.permutation(len(runs))]


def whole_runs(rows: Sequence[Row], cuts: Cuts, part: Part) -> list[Run]:
    """Return the whole part of each row as one run, for measuring."""
    spans = [(place, *cuts.span(row.time_T, part)) for place, row in enumerate(rows)]
    return [Run(*span) for span in spans if span[2] > span[1]]


def schedule(runs: Iterable[Run], batch: int, window: int, stride: int) -> Iterator[list[Lane]]:
    """Yield the windows of each chunk. Each lane of the batch goes through its run to the end and then takes the next
    waiting run."""
    waiting = deque(runs)
    lanes: list[Lane] = []
    while True:
        lanes = [
            Lane(lane.run, lane.position + stride, place)
            for place, lane in enumerate(lanes)
            if lane.position + window < lane.run.stop
        ]
        while waiting and len(lanes) < batch:
            run = waiting.popleft()
            lanes.append(Lane(run, run.start, -1))
        if not lanes:
            return
        yield lanes


def collate(rows: Sequence[Row], lanes: Sequence[Lane], window: int, reconstruct: int) -> Chunk:
    """Return one chunk, as wide as its longest window."""
    first, size = rows[lanes[0].run.row], len(lanes)
    longest = max(min(lane.run.stop - lane.position, window) for lane in lanes)
    back = max(reconstruct - 1, 1)
    values = np.zeros((size, back + longest, first.values_TD.shape[1]), np.float32)
    mask = np.zeros_like(values)
    context = np.zeros((size, longest, first.context_TX.shape[1]), np.float32)
    targets = np.full((size, longest, first.classes_TC.shape[1]), NO_CLASS, np.int64)
    recorded = np.zeros((size, longest), np.float32)
    for place, lane in enumerate(lanes):
        row, start, stop = rows[lane.run.row], lane.position, min(lane.position + window, lane.run.stop)
        early = max(start - back, lane.run.start)
        here = slice(back - (start - early), back + stop - start)
        values[place, here] = row.values_TD[early:stop]
        mask[place, here] = row.mask_TD[early:stop]
        context[place, : stop - start] = row.context_TX[start:stop]
        targets[place, : stop - start] = row.classes_TC[start:stop]
        recorded[place, : stop - start] = 1.0
    known, past = torch.from_numpy(targets), slice(None, back)
    all_values, all_mask = torch.from_numpy(values), torch.from_numpy(mask)
    return Chunk(
        Inputs(all_values[:, back:], all_mask[:, back:], torch.from_numpy(context), known.clamp(min=0)),
        known,
        all_values[:, past],
        all_mask[:, past],
        torch.from_numpy(recorded),
        torch.tensor([lane.previous for lane in lanes]),
    )
