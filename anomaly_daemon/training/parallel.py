"""Training in several processes, one a device, on one machine or many, started by torchrun. All work on the same
batches.

Theory of operation. The first process leads: it alone reads records, decides and writes. For each training it sends the
others what to train on (`sharing`), and they train along (`loop.follow`). All make the same schedule from the same
seed. Each process computes its share of the rows of a batch, and DistributedDataParallel averages the gradients. The
loss is scaled so that this average is the gradient of the whole batch, however many values are missing in each share.
In the next window a row may belong to another process, so the states are exchanged after each step (a few 100 KB). The
loss is therefore that of one process with the same batch, except for the order in which floats are added. A process
alone computes exactly what it would without this module.

Between steps, the leader does things that may fail, and then every process has to leave the training. Otherwise the
others would wait for the leader forever: see `Ranks.first`. What all processes compute alike fails in all of them.

Shapes: B rows of the whole batch, L layers, H units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from anomaly_daemon.detection.network import State
from anomaly_daemon.training.chunks import Lane, Run
from anomaly_daemon.training.loss import Loss

PATIENCE = timedelta(days=365)
"""How long the others wait for the leader, which may be waiting for a request. If the leader dies, the others notice at
once."""
TOGETHER = 2**26
"""Number of values sent at once."""

T = TypeVar("T")


class Left(Exception):  # noqa: N818
    """The leader has left this training."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The rank of this process, and the number of processes; (0, 1) is a process alone."""

    rank: int = 0
    world: int = 1
    orders: Any = None
    """The process group (gloo) in which the leader sends its messages."""

    @property
    def leads(self) -> bool:
        """Whether this process is the leader, which reads, writes and sends."""
        return self.rank == 0

    def part(self) -> None:
        """Drop the reference to the process group. The group's threads end when the last reference to it is gone."""
        object.__setattr__(self, "orders", None)

    def copies(self, step: nn.Module, device: torch.device) -> nn.Module:
        """Return the module wrapped so that gradients are averaged over all processes."""
        if self.world == 1:
            return step
        return DistributedDataParallel(step, device_ids=[device.index] if device.type == "cuda" else None)

    def first(self, call: Callable[[], object]) -> None:
        """Call `call` in the leader alone. If it raises, every process leaves the training: the others raise `Left`."""
        if self.world == 1:
            call()
            return
        try:
            if self.leads:
                call()
        except Exception:
            self.broadcast(torch.zeros(1))
            raise
        if not self.broadcast(torch.ones(1)):
            raise Left

    def steps(self, track: Callable[[Sequence[T]], Iterable[T]], steps: Sequence[T]) -> Iterator[T]:
        """Yield the same steps in every process for as long as the leader continues. The leader draws them through
        `track`."""
        drawn: list[Iterator[T]] = []
        self.first(lambda: drawn.append(iter(track(steps))))
        for step in steps:
            self.first(lambda: next(drawn[0]))
            yield step
        self.first(lambda: next(drawn[0], None))

    def broadcast(self, values: Tensor) -> Tensor:
        """Return the leader's values (on the CPU) in every process. The others pass a tensor of the same shape and
        type, which is overwritten."""
        if self.world > 1:
            for part in torch.split(values.view(-1), TOGETHER):
                dist.broadcast(part, 0, self.orders)
        return values

    def message(self, content: bytes = b"") -> bytes:
        """Return the leader's bytes in every process."""
        size = int(self.broadcast(torch.tensor([len(content)])))
        mine = bytearray(content) if self.leads else bytearray(size)
        return self.broadcast(torch.frombuffer(mine, dtype=torch.uint8)).numpy().tobytes() if size else b""

    def share(self, size: int) -> slice:
        """Return this process's rows of a batch of `size`. There are none for some processes if the batch has fewer
        rows than there are processes."""
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)

    def lanes(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Return this process's share of the lanes. If that is empty, one lane is returned whose loss is weighed with
        0, because every process has to take every step."""
        return list(lanes[self.share(len(lanes))] or lanes[:1])

    def runs(self, runs: Sequence[Run]) -> list[Run]:
        """Return this process's share of the runs to measure."""
        return list(runs[self.rank :: self.world])

    def weighed(self, loss: Loss, size: int) -> Loss:
        """Return this process's part of a step's loss, scaled so that the average over all processes is the mean over
        the whole batch."""
        if self.world == 1:
            return loss
        mine = self.share(size)
        there = float(mine.stop > mine.start)
        counts = torch.stack([loss.predicted.detach(), loss.rebuilt.detach()]) * there / self.world
        dist.all_reduce(counts)
        return Loss(loss.prediction * there, counts[0], loss.reconstruction * there, counts[1])

    def whole(self, state: State, size: int) -> State:
        """Return the states [L, B, H] of all rows of the batch, in every process."""
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
        """Return the sums over all processes, on the CPU."""
        if self.world == 1:
            return loss
        sums = torch.stack(list(loss))
        dist.all_reduce(sums, group=self.orders)
        return Loss(*sums)

    def average(self, value: float) -> float:
        """Return the average over all processes."""
        if self.world == 1:
            return value
        sums = torch.tensor(value / self.world, dtype=torch.float64)
        dist.all_reduce(sums, group=self.orders)
        return float(sums)


ALONE = Ranks()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[torch.device, Ranks]]:
    """Join the process group of torchrun (NCCL on CUDA, else gloo) while the block runs. Yields the device of this
    process and its ranks; without torchrun, the given device and `ALONE`. When the leader's block ends without an
    error, it sends the others that there is no further training."""
    if not dist.is_torchelastic_launched():
        yield device, ALONE
        return
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    ranks = ALONE
    try:
        ranks = Ranks(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=PATIENCE))
        yield device, ranks
        if ranks.leads:
            ranks.message()
    finally:
        # Drop the gloo group before the interpreter ends: a gloo thread that releases its last tensor during that end
        # aborts a process whose work is done. The other group, to which DistributedDataParallel (torch 2.13) always
        # keeps a reference, has been idle for long by then.
        ranks.part()
        dist.destroy_process_group()
