"""What the leader of several processes sends to the others for a training: all that they need to train along.

The others therefore need no topic, registry or folder, and all train on the same records, although a topic may change
while it is read. The leader sends a description as JSON, the state of the training as safetensors, and the rows column
by column (law L12: no pickle).

Shapes: N events of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import load, save

from anomaly_daemon.detection.network import NetworkConfig
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training.checkpoint import Progress, Standing
from anomaly_daemon.training.dataset import Cuts
from anomaly_daemon.training.origin import Origin
from anomaly_daemon.training.parallel import Ranks
from anomaly_daemon.training.rows import Row

COLUMNS = ("time_T", "values_TD", "mask_TD", "context_TX", "classes_TC")


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is trained on, and how; the same in every process."""

    config: NetworkConfig
    settings: TrainingSettings
    rows: Sequence[Row]
    cuts: Cuts
    make: Origin = field(default_factory=dict)
    """Identifies the training in the checkpoint. Only the leader writes that, so this is not sent to the others."""


class Description(msgspec.Struct, frozen=True):
    config: NetworkConfig
    settings: dict[str, Any]
    cuts: Cuts
    progress: Progress
    lengths: list[int]
    """Number of events of each row."""
    columns: list[tuple[str, list[int]]]
    """For each of `COLUMNS`, the type of its numbers and the shape of one event."""


def share(ranks: Ranks, lesson: Lesson, standing: Standing) -> None:
    """Send the training to the other processes, if there are any."""
    if ranks.world == 1:
        return
    whole = [np.concatenate([getattr(row, name) for row in lesson.rows]) for name in COLUMNS]
    description = Description(
        lesson.config,
        lesson.settings.model_dump(mode="json"),
        lesson.cuts,
        standing.progress,
        [len(row) for row in lesson.rows],
        [(one_N.dtype.str, list(one_N.shape[1:])) for one_N in whole],
    )
    ranks.message(msgspec.json.encode(description))
    ranks.message(save(standing.tensors()))
    for one_N in whole:
        ranks.broadcast(torch.from_numpy(one_N))


def received(ranks: Ranks, device: torch.device) -> tuple[Lesson, Standing] | None:
    """Receive the next training from the leader; None if there is no more."""
    message = ranks.message()
    if not message:
        return None
    description = msgspec.json.decode(message, type=Description)
    settings, config = TrainingSettings.model_validate(description.settings), description.config
    standing = Standing.begun(config, settings, device)
    standing.stand(description.progress, load(ranks.message()))
    events, ends = sum(description.lengths), np.cumsum(description.lengths)[:-1]
    whole = [np.empty((events, *shape), kind) for kind, shape in description.columns]
    parts = [np.split(ranks.broadcast(torch.from_numpy(one_N)).numpy(), ends) for one_N in whole]
    return Lesson(config, settings, [Row("", *one) for one in zip(*parts, strict=True)], description.cuts), standing
