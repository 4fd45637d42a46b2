"""Training in several processes, one a device, on one machine or many: started by torchrun, all on the same batches.

Theory of operation. Every process reads the records, and makes the same schedule from the same seed. Of each batch it
computes its share of rows; DistributedDataParallel averages the gradients, which are scaled so that the average is the
gradient of the whole batch, however much of it is missing where. A row may stand in another's share in the next window,
so the states are brought together after each step (a few 100 KB). So the loss is that of one process with the same
batch, but for the order in which floats are added up. Alone, nothing here changes a bit.

Shapes: B rows of the whole batch, L layers, H units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from anomaly_daemon.detection.network import State
from anomaly_daemon.training.chunks import Lane, Run
from anomaly_daemon.training.loss import Loss


def launched() -> bool:
    """Whether torchrun has started this process."""
    return bool(dist.is_torchelastic_launched())


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """The process group of torchrun (NCCL on CUDA, else gloo) while the block runs, and our device; without, alone."""
    if not launched():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True, slots=True)
class Ranks:
    """Our place among the processes."""

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """(0, 1) where there is no process group."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def leads(self) -> bool:
        """Whether we are the one that writes and tells."""
        return self.rank == 0

    def copies(self, step: nn.Module, device: torch.device) -> nn.Module:
        """The module whose gradients are averaged over all."""
        if self.world == 1:
            return step
        return DistributedDataParallel(step, device_ids=[device.index] if device.type == "cuda" else None)

    def share(self, size: int) -> slice:
        """Our rows of a batch; none where it has fewer than there are processes."""
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)

    def lanes(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Our share, or one row that will count for nothing: every process has to take every step."""
        return list(lanes[self.share(len(lanes))] or lanes[:1])

    def runs(self, runs: Sequence[Run]) -> list[Run]:
        """Our share of what is measured."""
        return list(runs[self.rank :: self.world])

    def weighed(self, loss: Loss, size: int) -> Loss:
        """Our part of a step's loss, so that the average over all processes is the mean over the whole batch."""
        if self.world == 1:
            return loss
        mine = self.share(size)
        there = float(mine.stop > mine.start)
        counts = torch.stack([loss.predicted.detach(), loss.rebuilt.detach()]) * there / self.world
        dist.all_reduce(counts)
        return Loss(loss.prediction * there, counts[0], loss.reconstruction * there, counts[1])

    def whole(self, state: State, size: int) -> State:
        """The states [L, B, H] of all rows of the batch."""
        if self.world == 1:
            return state
        return State(*(self._gathered(one, size) for one in state))

    def _gathered(self, mine: Tensor, size: int) -> Tensor:
        share = self.share(size)
        everything = mine.new_zeros(mine.shape[0], size, mine.shape[2])
        everything[:, share] = mine[:, : share.stop - share.start]
        dist.all_reduce(everything)
        return everything

    def total(self, loss: Loss) -> Loss:
        """Sums over all processes."""
        if self.world == 1:
            return loss
        sums, device = torch.stack(list(loss)), _device()
        moved = sums.to(device)
        dist.all_reduce(moved)
        return Loss(*moved.to(sums.device))

    def average(self, value: float) -> float:
        """Over all processes."""
        if self.world == 1:
            return value
        sums = torch.tensor(value / self.world, dtype=torch.float64, device=_device())
        dist.all_reduce(sums)
        return float(sums)


def _device() -> torch.device:
    """Where the process group can reach: NCCL knows CUDA alone."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
