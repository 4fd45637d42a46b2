"""Training in several processes, one a device, on one machine or many: started by torchrun, all on the same batches.

Theory of operation. The first process leads: it alone reads records, decides and writes. For each training it tells the
others what to train on (`sharing`), and they train along (`loop.follow`). All make the same schedule from the same seed.
Of each batch a process computes its share of rows; DistributedDataParallel averages the gradients, which are scaled so
that the average is the gradient of the whole batch, however much of it is missing where. A row may stand in another's
share in the next window, so the states are brought together after each step (a few 100 KB). So the loss is that of one
process with the same batch, but for the order in which floats are added up. Alone, nothing here changes a bit.

What only the leader does in between may fail, and then every process has to leave the training with it, or it would wait
for the others' part for ever: see `Ranks.first`. What all compute alike fails alike.

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
"""How long the others wait for the leader, which may be waiting for a request. Where it dies, they are told at once."""
TOGETHER = 2**26
"""Values sent at once."""

T = TypeVar("T")


class Left(Exception):  # noqa: N818
    """The leader has left this training."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Our place among the processes; (0, 1) is a process alone."""

    rank: int = 0
    world: int = 1
    orders: Any = None
    """The process group (gloo) in which the leader speaks."""

    @property
    def leads(self) -> bool:
        """Whether we are the one that reads, writes and tells."""
        return self.rank == 0

    def part(self) -> None:
        """Nothing of the group is left here: its threads end with the last that refers to it."""
        object.__setattr__(self, "orders", None)

    def copies(self, step: nn.Module, device: torch.device) -> nn.Module:
        """The module whose gradients are averaged over all."""
        if self.world == 1:
            return step
        return DistributedDataParallel(step, device_ids=[device.index] if device.type == "cuda" else None)

    def first(self, call: Callable[[], object]) -> None:
        """Done by the leader alone. Where it raises, every process leaves: the others by `Left`."""
        if self.world == 1:
            call()
            return
        try:
            if self.leads:
                call()
        except Exception:
            self.told(torch.zeros(1))
            raise
        if not self.told(torch.ones(1)):
            raise Left

    def steps(self, track: Callable[[Sequence[T]], Iterable[T]], steps: Sequence[T]) -> Iterator[T]:
        """The same steps in every process, for as long as the leader goes on, which draws them through `track`."""
        drawn: list[Iterator[T]] = []
        self.first(lambda: drawn.append(iter(track(steps))))
        for step in steps:
            self.first(lambda: next(drawn[0]))
            yield step
        self.first(lambda: next(drawn[0], None))

    def told(self, values: Tensor) -> Tensor:
        """The leader's values (on the CPU), in every process; the others give some of the same shape and type."""
        if self.world > 1:
            for part in torch.split(values.view(-1), TOGETHER):
                dist.broadcast(part, 0, self.orders)
        return values

    def message(self, content: bytes = b"") -> bytes:
        """The leader's, in every process."""
        size = int(self.told(torch.tensor([len(content)])))
        mine = bytearray(content) if self.leads else bytearray(size)
        return self.told(torch.frombuffer(mine, dtype=torch.uint8)).numpy().tobytes() if size else b""

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
        """Sums over all processes, on the CPU."""
        if self.world == 1:
            return loss
        sums = torch.stack(list(loss))
        dist.all_reduce(sums, group=self.orders)
        return Loss(*sums)

    def average(self, value: float) -> float:
        """Over all processes."""
        if self.world == 1:
            return value
        sums = torch.tensor(value / self.world, dtype=torch.float64)
        dist.all_reduce(sums, group=self.orders)
        return float(sums)


ALONE = Ranks()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[torch.device, Ranks]]:
    """The process group of torchrun (NCCL on CUDA, else gloo) while the block runs: our device, and our place. Without
    torchrun, alone. Where the leader's block ends well the others are told that there is no more."""
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
        # A thread of gloo that lets go of its last tensor while the interpreter ends aborts a process whose work is done.
        # The other group, which DistributedDataParallel (torch 2.13) never lets go of, has been at rest for long.
        ranks.part()
        dist.destroy_process_group()
