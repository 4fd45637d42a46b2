"""The training loop: configuration, network, optimizer, epochs. The file can be read once from top to bottom.

Everything random in an epoch is drawn from (seed, epoch), so an epoch is the same whether training reached it without
interruption or was resumed. A checkpoint after each epoch holds the weights, the best weights, the optimizer's state
and the curve.

Shapes: B rows, T events.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from anomaly_daemon.detection.network import Network, NetworkConfig, State
from anomaly_daemon.errors import ConfigurationError, Incompatible
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training import checkpoint
from anomaly_daemon.training.ahead import one_ahead
from anomaly_daemon.training.bounds import Bounds, cut_short
from anomaly_daemon.training.checkpoint import Epoch, Progress, Standing
from anomaly_daemon.training.chunks import Chunk, Lane, Run, collate, run_events, schedule, shuffled_runs, whole_runs
from anomaly_daemon.training.dataset import Cuts, Part
from anomaly_daemon.training.loss import Loss, losses
from anomaly_daemon.training.optimizer import learning_rate
from anomaly_daemon.training.origin import Origin
from anomaly_daemon.training.parallel import ALONE, Left, Ranks
from anomaly_daemon.training.rows import Row
from anomaly_daemon.training.sharing import Lesson, received, share
from anomaly_daemon.training.under_way import TRAINING, Tell, quiet

CPU = torch.device("cpu")
MEASURE_BATCH = 256

Track = Callable[[Sequence[list[Lane]], str], Iterable[list[Lane]]]
"""Wraps the steps of an epoch, for example in a progress bar, and yields them unchanged. The text describes the
progress so far."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a training runs, independent of what is trained."""

    device: torch.device = CPU
    saved: Path | None = None
    """The checkpoint file, written after each epoch; None for no checkpoint."""
    resume: bool = False
    """Whether to continue from `saved`."""
    ranks: Ranks = ALONE
    track: Track = lambda steps, _: steps
    tell: Tell = quiet
    anew: bool = False
    """Whether to start from scratch if the checkpoint belongs to another training, for unattended runs. Otherwise such
    a checkpoint is refused."""
    note: Callable[[str], None] = lambda text: None
    """Called once for each thing that an operator should know."""


ONCE = Course()


def train(
    config: NetworkConfig,
    settings: TrainingSettings,
    rows: Sequence[Row],
    cuts: Cuts,
    course: Course = ONCE,
    *,
    start: Mapping[str, torch.Tensor] | None = None,
    origin: Origin | None = None,
) -> tuple[Network, Progress]:
    """Train on the training part and stop early on the validation part. Returns the best network (in eval mode, on the
    CPU) and its progress, with the curve. `start` gives the initial weights, if they are not those of the seed.
    `origin` describes where the rows come from, for the checkpoint. Raises ConfigurationError if the loss is not a
    number or a part is empty, Incompatible if the checkpoint to resume belongs to another training. Of several
    processes only the leader calls this; the others call `follow`."""
    _parts(rows, cuts)
    lesson = Lesson(config, settings, rows, cuts, checkpoint.made_of(config, settings, origin or {}))
    standing = Standing.begun(config, settings, course.device, start)
    if course.resume and course.saved is not None:
        _go_on(course.saved, lesson, standing, course)
    share(course.ranks, lesson, standing)
    _epochs(lesson, standing, course)
    standing.network.load_state_dict(standing.best)
    return standing.network.cpu().eval(), standing.progress


def _go_on(saved: Path, lesson: Lesson, standing: Standing, course: Course) -> None:
    """Restore the training from its checkpoint, if there is one."""
    if not saved.exists():
        if not course.anew:
            course.note(f"nothing to resume: there is no {saved}; the training begins with its first epoch")
        return
    try:
        checkpoint.load(saved, lesson.make, standing)
    except Incompatible as error:
        if not course.anew:
            raise
        course.note(f"the training starts from the beginning: {error}")


def follow(ranks: Ranks, device: torch.device) -> None:
    """Train along with the leader, one training after the other, until the leader has no more."""
    while (given := received(ranks, device)) is not None:
        with suppress(Left, ConfigurationError):  # the leader reports these
            _epochs(*given, Course(device, ranks=ranks))


def _epochs(lesson: Lesson, standing: Standing, course: Course) -> None:
    """Run epochs from the current state until training is over."""
    settings, rows, cuts = lesson.settings, lesson.rows, lesson.cuts
    validation = _parts(rows, cuts)[1]
    once = len(_schedule(lesson, 0))
    bounds, usual = Bounds.of(settings, once), Bounds.of(TrainingSettings(), once)
    network, progress, ranks = standing.network, standing.progress, course.ranks
    step = ranks.copies(Step(network, settings), course.device)
    while not progress.over(bounds):
        epoch = len(progress.curve)
        torch.manual_seed(settings.seed * 10_007 + epoch + 1_000_003 * ranks.rank)  # dropout
        training = _one_epoch(step, lesson, standing, _schedule(lesson, epoch), bounds.epochs, course)
        measured = ranks.total(measure(network, rows, ranks.runs(validation), settings.window, course.device))
        if progress.add(_epoch(epoch, training, measured, settings)):
            standing.best = checkpoint.weights(network)
        ranks.first(partial(_keep, course.saved, lesson, standing))
    progress.cut_short = cut_short([one.validation for one in progress.curve], bounds, usual)


def _schedule(lesson: Lesson, epoch: int) -> list[list[Lane]]:
    """Return the steps of an epoch: the windows of each batch."""
    settings, rows, cuts = lesson.settings, lesson.rows, lesson.cuts
    stride = settings.stride or settings.window // 2
    length = run_events(_parts(rows, cuts)[0], settings.batch_size, settings.window, stride)
    runs = shuffled_runs(rows, cuts, length, np.random.default_rng((settings.seed, epoch)))
    return list(schedule(runs, settings.batch_size, settings.window, stride))


def _keep(saved: Path | None, lesson: Lesson, standing: Standing) -> None:
    if saved is not None:
        checkpoint.save(saved, lesson.make, standing)


def _epoch(epoch: int, training: float, measured: Loss, settings: TrainingSettings) -> Epoch:
    predicted, rebuilt = map(float, measured.means())
    return Epoch(epoch, training, predicted + settings.reconstruction_loss_weight * rebuilt, predicted, rebuilt)


def _parts(rows: Sequence[Row], cuts: Cuts) -> tuple[int, list[Run]]:
    """Return the number of events to train on, and the runs to validate with."""
    events = sum(run.stop - run.start for run in whole_runs(rows, cuts, Part.TRAINING))
    validation = whole_runs(rows, cuts, Part.VALIDATION)
    if not events or not validation:
        raise ConfigurationError("the training or the validation part has no events: give more input")
    return events, validation


class Step(nn.Module):
    """The computation of one training step, as one module, so that it can be wrapped for several processes."""

    def __init__(self, network: Network, settings: TrainingSettings) -> None:
        super().__init__()
        self.network, self.stride = network, settings.stride or settings.window // 2
        self.mixed = settings.precision == "bfloat16"

    def forward(self, chunk: Chunk, state: State) -> tuple[Loss, State]:
        """Compute `chunk_loss`. With mixed precision, products are in bfloat16, which has the range of float32 and
        needs no scaling; weights, sums and carried states stay float32."""
        device = chunk.recorded.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.mixed), _own_kernels(self.mixed and device == "cpu"):
            loss, after = chunk_loss(self.network, chunk, state, self.stride)
        return Loss(*(one.float() for one in loss)), State(after.hidden.float(), after.cell.float())


@contextmanager
def _own_kernels(wanted: bool) -> Iterator[None]:
    """Use PyTorch's own LSTM kernel where oneDNN has none in bfloat16 and fails: on a processor without AVX-512."""
    if not wanted or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about GPUs of Intel
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _one_epoch(
    step: nn.Module, lesson: Lesson, standing: Standing, steps: Sequence[list[Lane]], epochs: int, course: Course
) -> float:
    """Train on every chunk once and return the mean loss. `epochs` is the number of epochs of the whole training."""
    settings, ranks = lesson.settings, course.ranks
    network, optimizer = standing.network.train(), standing.optimizer
    epoch, state, total = len(standing.progress.curve), network.initial_state(0), 0.0

    def made(lanes: list[Lane]) -> Chunk:
        return collate(lesson.rows, ranks.lanes(lanes), settings.window, network.config.reconstruct)

    def tracked(steps: Sequence[list[Lane]]) -> Iterable[list[Lane]]:
        text = describe(standing.progress, epochs)
        for at, one in enumerate(course.track(steps, text)):
            course.tell(TRAINING, (epoch + at / len(steps)) / epochs, text)
            yield one

    for at, (lanes, batch) in enumerate(one_ahead(made, ranks.steps(tracked, steps))):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate((epoch + at / len(steps)) / epochs, settings.learning_rate)
        chunk = batch.to(course.device)
        loss, after = step(chunk, carried(state, chunk.previous))
        state = ranks.whole(after, len(lanes))
        prediction, reconstruction = ranks.weighed(loss, len(lanes)).means()
        objective = prediction + settings.reconstruction_loss_weight * reconstruction
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(objective)
        norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm))
        optimizer.step()
        total += float(objective.detach())
        if not math.isfinite(norm):  # the norm is that of the whole batch, so every process finds this in the same step
            raise _not_a_number(epoch, at)
    mean = ranks.average(total) / len(steps)
    if not math.isfinite(mean):
        raise _not_a_number(epoch, len(steps) - 1)
    return mean


def _not_a_number(epoch: int, step: int) -> ConfigurationError:
    return ConfigurationError(
        f"the loss is not a number in epoch {epoch + 1}, step {step + 1}: lower training.learning_rate or "
        "training.clip_norm, or look for extreme values in the input (transform: log may help)"
    )


def carried(state: State, previous: torch.Tensor) -> State:
    """Return the initial state of each row of a chunk: the state at index `previous` of the chunk before, or the blank
    state (-1)."""
    fresh = (previous < 0)[None, :, None]

    def of(whole: torch.Tensor) -> torch.Tensor:
        if not whole.shape[1] or not whole.shape[0]:
            return whole.new_zeros(whole.shape[0], len(previous), whole.shape[2])
        return whole[:, previous.clamp(min=0)].masked_fill(fresh, 0.0)

    return State(of(state.hidden), of(state.cell))


def chunk_loss(network: Network, chunk: Chunk, state: State, stride: int) -> tuple[Loss, State]:
    """Return the loss over a whole window, and the state `stride` events into it, where the next window starts."""
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
    """Return the loss summed over these runs. Each run is processed once from its start, with the state carried
    throughout."""
    network.eval()
    state = network.initial_state(0)
    sums = [torch.zeros((), dtype=torch.float64) for _ in Loss._fields]
    for lanes in schedule(runs, MEASURE_BATCH, window, window):
        chunk = collate(rows, lanes, window, network.config.reconstruct).to(device)
        loss, state = chunk_loss(network, chunk, carried(state, chunk.previous), window)
        sums = [total + part.double().cpu() for total, part in zip(sums, loss, strict=True)]
    return Loss(*sums)


def describe(progress: Progress, epochs: int) -> str:
    """Return one line about the progress of the training."""
    line = f"epoch {len(progress.curve) + 1}/{epochs}"
    return f"{line} · validation {progress.curve[-1].validation:.4f}" if progress.curve else line
