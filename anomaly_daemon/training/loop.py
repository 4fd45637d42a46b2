"""The training loop: configuration, network, optimizer, epochs. Read it once from top to bottom.

Everything random is drawn from (seed, epoch), so an epoch is the same whether training came there in one go or was
resumed: a checkpoint after each epoch holds weights, best weights, the optimizer's state and the curve.

Shapes: B rows, T events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from anomaly_daemon.detection.network import Network, NetworkConfig, State
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training import checkpoint
from anomaly_daemon.training.ahead import one_ahead
from anomaly_daemon.training.checkpoint import Epoch, Progress
from anomaly_daemon.training.chunks import Chunk, Lane, Run, collate, run_events, schedule, shuffled_runs, whole_runs
from anomaly_daemon.training.dataset import Cuts, Part
from anomaly_daemon.training.loss import Loss, losses
from anomaly_daemon.training.optimizer import learning_rate, make_optimizer
from anomaly_daemon.training.parallel import Ranks
from anomaly_daemon.training.rows import Row

MEASURE_BATCH = 256

Track = Callable[[Sequence[list[Lane]], str], Iterable[list[Lane]]]
"""Passes the steps of an epoch through, drawing a progress bar perhaps; the text describes what has been reached."""


def train(
    config: NetworkConfig,
    settings: TrainingSettings,
    rows: Sequence[Row],
    cuts: Cuts,
    *,
    device: torch.device,
    saved: Path | None = None,
    resume: bool = False,
    start: Mapping[str, torch.Tensor] | None = None,
    track: Track = lambda steps, _: steps,
) -> tuple[Network, Progress]:
    """Train on the training part, stop early on the validation part, and return the best network (in eval mode, on
    the CPU) with its curve. `start` are the weights to begin with, if not those of the seed. Raises ConfigurationError
    when the loss is not a number, or a part is empty."""
    stride = settings.stride or settings.window // 2
    events, validation = _parts(rows, cuts)
    length = run_events(events, settings.batch_size, settings.window, stride)

    ranks, network = Ranks.current(), _begun(config, settings.seed, start).to(device)
    step = ranks.copies(Step(network, settings), device)
    optimizer = make_optimizer(settings.optimizer, network, settings.learning_rate)
    progress, best = Progress(), checkpoint.weights(network)
    if resume and saved is not None and saved.exists():
        progress, best = checkpoint.load(saved, config, settings, network, optimizer)

    while not progress.over(settings):
        epoch = len(progress.curve)
        torch.manual_seed(settings.seed * 10_007 + epoch + 1_000_003 * ranks.rank)  # dropout
        runs = shuffled_runs(rows, cuts, length, np.random.default_rng((settings.seed, epoch)))
        steps = list(schedule(runs, settings.batch_size, settings.window, stride))
        training = _one_epoch(step, network, optimizer, settings, rows, steps, progress, track, ranks)
        measured = ranks.total(measure(network, rows, ranks.runs(validation), settings.window, device))
        if progress.add(_epoch(epoch, training, measured, settings)):
            best = checkpoint.weights(network)
        if saved is not None and ranks.leads:
            checkpoint.save(saved, config, settings, network, best, optimizer, progress)

    network.load_state_dict(best)
    return network.cpu().eval(), progress


def _epoch(epoch: int, training: float, measured: Loss, settings: TrainingSettings) -> Epoch:
    predicted, rebuilt = map(float, measured.means())
    return Epoch(epoch, training, predicted + settings.reconstruction_loss_weight * rebuilt, predicted, rebuilt)


def _begun(config: NetworkConfig, seed: int, start: Mapping[str, torch.Tensor] | None) -> Network:
    network = Network(config, torch.Generator().manual_seed(seed))
    if start is not None:
        network.load_state_dict(dict(start))
    return network


def _parts(rows: Sequence[Row], cuts: Cuts) -> tuple[int, list[Run]]:
    """Events to train on, and the runs to validate with."""
    events = sum(run.stop - run.start for run in whole_runs(rows, cuts, Part.TRAINING))
    validation = whole_runs(rows, cuts, Part.VALIDATION)
    if not events or not validation:
        raise ConfigurationError("the training or the validation part has no events: give more input")
    return events, validation


class Step(nn.Module):
    """What one training step computes, as one module."""

    def __init__(self, network: Network, settings: TrainingSettings) -> None:
        super().__init__()
        self.network, self.stride = network, settings.stride or settings.window // 2
        self.mixed = settings.precision == "bfloat16"

    def forward(self, chunk: Chunk, state: State) -> tuple[Loss, State]:
        """See `chunk_loss`. Mixed precision: products in bfloat16, which has the range of float32 and needs no scaling;
        weights, sums and carried states stay float32."""
        with torch.autocast(chunk.recorded.device.type, torch.bfloat16, enabled=self.mixed):
            loss, after = chunk_loss(self.network, chunk, state, self.stride)
        return Loss(*(one.float() for one in loss)), State(after.hidden.float(), after.cell.float())


def _one_epoch(
    step: nn.Module,
    network: Network,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    rows: Sequence[Row],
    steps: Sequence[list[Lane]],
    progress: Progress,
    track: Track,
    ranks: Ranks,
) -> float:
    """Every chunk once; returns the mean loss."""
    network.train()
    device = next(network.parameters()).device
    epoch, state, total = len(progress.curve), network.initial_state(0), 0.0

    def made(lanes: list[Lane]) -> Chunk:
        return collate(rows, ranks.lanes(lanes), settings.window, network.config.reconstruct)

    for at, (lanes, batch) in enumerate(one_ahead(made, track(steps, describe(progress, settings)))):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate((epoch + at / len(steps)) / settings.epochs, settings.learning_rate)
        chunk = batch.to(device)
        loss, after = step(chunk, carried(state, chunk.previous))
        state = ranks.whole(after, len(lanes))
        prediction, reconstruction = ranks.weighed(loss, len(lanes)).means()
        objective = prediction + settings.reconstruction_loss_weight * reconstruction
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(objective)
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        total += float(objective.detach())
        if not np.isfinite(total):
            raise ConfigurationError(
                f"the loss is not a number in epoch {epoch + 1}, step {at + 1}: lower training.learning_rate or "
                "training.clip_norm, or look for extreme values in the input (transform: log may help)"
            )
    return ranks.average(total) / len(steps)


def carried(state: State, previous: torch.Tensor) -> State:
    """The state of each row of a chunk: of its place in the chunk before, or of a stream that has seen nothing (-1)."""
    fresh = (previous < 0)[None, :, None]

    def of(whole: torch.Tensor) -> torch.Tensor:
        if not whole.shape[1] or not whole.shape[0]:
            return whole.new_zeros(whole.shape[0], len(previous), whole.shape[2])
        return whole[:, previous.clamp(min=0)].masked_fill(fresh, 0.0)

    return State(of(state.hidden), of(state.cell))


def chunk_loss(network: Network, chunk: Chunk, state: State, stride: int) -> tuple[Loss, State]:
    """The loss over a whole window, and the state `stride` events into it: where the next window starts."""
    inputs = chunk.inputs
    first = type(inputs)(*(one[:, :stride] for one in inputs))
    prediction, rebuilt, after = network(first, state, chunk.past_values[:, -1])
    if stride < inputs.values.shape[1]:
        second = type(inputs)(*(one[:, stride:] for one in inputs))
        more, more_rebuilt, _ = network(second, after, inputs.values[:, stride - 1])
        logits = tuple(torch.cat(pair, dim=1) for pair in zip(prediction.logits, more.logits, strict=True))
        prediction = type(prediction)(
            torch.cat([prediction.location, more.location], dim=1),
            torch.cat([prediction.log_scale, more.log_scale], dim=1),
            logits,
        )
        rebuilt = torch.cat([rebuilt, more_rebuilt], dim=1)
    return losses(prediction, rebuilt, chunk), State(after.hidden.detach(), after.cell.detach())


@torch.no_grad()
def measure(network: Network, rows: Sequence[Row], runs: Sequence[Run], window: int, device: torch.device) -> Loss:
    """The loss summed over these runs, each walked once from its start with the state carried all along."""
    network.eval()
    state = network.initial_state(0)
    sums = [torch.zeros((), dtype=torch.float64) for _ in Loss._fields]
    for lanes in schedule(runs, MEASURE_BATCH, window, window):
        chunk = collate(rows, lanes, window, network.config.reconstruct).to(device)
        loss, state = chunk_loss(network, chunk, carried(state, chunk.previous), window)
        sums = [total + part.double().cpu() for total, part in zip(sums, loss, strict=True)]
    return Loss(*sums)


def describe(progress: Progress, settings: TrainingSettings) -> str:
    """One line on where training stands."""
    line = f"epoch {len(progress.curve) + 1}/{settings.epochs}"
    return f"{line} · validation {progress.curve[-1].validation:.4f}" if progress.curve else line
