"""The state of a training after an epoch, stored in one file: safetensors with JSON in its header (law L12).

The file holds no random state, because there is none to keep: the loop seeds every epoch from (seed, epoch).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anomaly_daemon.detection.network import Network, NetworkConfig
from anomaly_daemon.errors import Incompatible, NotPermitted, Unavailable, UsageError
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training.bounds import Bounds
from anomaly_daemon.training.optimizer import make_optimizer
from anomaly_daemon.training.origin import Origin, differences


@dataclass(frozen=True, slots=True)
class Epoch:
    """One point of the training curve: mean losses; the prediction loss is in nats a value."""

    epoch: int
    training: float
    validation: float
    validation_prediction: float
    validation_reconstruction: float


@dataclass(slots=True)
class Progress:
    """The curve and the best epoch so far, between two epochs."""

    curve: list[Epoch] = field(default_factory=list)
    best: int = -1
    """The epoch with the lowest validation loss; -1 before the first epoch."""
    cut_short: bool = False
    """Whether training reached its largest number of epochs before it stopped learning; see `bounds.cut_short`."""

    def over(self, bounds: Bounds) -> bool:
        """Return whether all epochs are done, or none was better than the best for `patience` epochs."""
        done = len(self.curve)
        return done >= bounds.epochs or (done > 0 and done - 1 - self.best >= bounds.patience)

    def add(self, epoch: Epoch) -> bool:
        """Append an epoch to the curve. Returns True if it is the best so far."""
        better = self.best < 0 or epoch.validation < self.curve[self.best].validation
        self.curve.append(epoch)
        self.best = epoch.epoch if better else self.best
        return better


@dataclass(slots=True)
class Standing:
    """The full state of a training between two epochs: network, optimizer, best weights and progress."""

    network: Network
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    """The weights of the best epoch so far, on the CPU."""
    progress: Progress

    @classmethod
    def begun(
        cls,
        config: NetworkConfig,
        settings: TrainingSettings,
        device: torch.device,
        start: Mapping[str, Tensor] | None = None,
    ) -> Standing:
        """Return the state before the first epoch, with the weights `start`, or else those that the seed gives."""
        network = Network(config, torch.Generator().manual_seed(settings.seed))
        if start is not None:
            network.load_state_dict(dict(start))
        network.to(device)
        optimizer = make_optimizer(settings.optimizer, network, settings.learning_rate)
        return cls(network, optimizer, weights(network), Progress())

    def tensors(self) -> dict[str, Tensor]:
        """Return everything except the progress, on the CPU."""
        tensors = {f"network.{name}": value for name, value in weights(self.network).items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for place, kept in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": value.detach().cpu().contiguous() for name, value in kept.items()}
        return tensors

    def stand(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Restore network, optimizer, best weights and progress from a checkpoint."""
        self.network.load_state_dict(_under("network.", tensors))
        kept: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            place, entry = name.split(".", 1)
            kept.setdefault(int(place), {})[entry] = value
        self.optimizer.load_state_dict({"state": kept, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.best, self.progress = _under("best.", tensors), progress


def weights(network: Network) -> dict[str, Tensor]:
    """Return a copy of the weights, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def refuse_foreign(path: Path) -> None:
    """Raise UsageError if `path` exists and is not a training checkpoint. Such a file would be overwritten, and removed
    at the end of the training."""
    if path.exists() and not _is_checkpoint(path):
        raise UsageError(
            f"{path}: this file is not a training checkpoint, and would be overwritten by one: name another, or "
            "move it away"
        )


def _is_checkpoint(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return {"make", "progress"} <= set(file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def save(path: Path, make: Origin, standing: Standing) -> None:
    """Write the checkpoint, whole or not at all. `make` is the result of `made_of`. Raises Unavailable if this is not
    possible now, NotPermitted if this user may not write there; the previous checkpoint is kept in both cases."""
    header = {"make": json.dumps(make, sort_keys=True), "progress": json.dumps(asdict(standing.progress))}
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.touch()
        save_file(standing.tensors(), unfinished, header)
        os.replace(unfinished, path)
    except (SafetensorError, OSError) as error:
        with suppress(OSError):  # where nothing may be removed either
            unfinished.unlink()
        if isinstance(error, PermissionError):
            raise NotPermitted(
                f"{path} cannot be written: {error.strerror}; the checkpoint of the previous epoch is kept"
            ) from error
        raise Unavailable(
            f"{path} cannot be written ({error}): make room, or name another place; the checkpoint of the "
            "previous epoch is kept"
        ) from error


def load(path: Path, make: Origin, standing: Standing) -> None:
    """Restore training from the checkpoint. Raises Incompatible if the file is broken or of another training."""
    try:
        with safe_open(path, "pt") as file:
            header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Incompatible(
            f"{path} is not a training checkpoint ({error}): remove it, or train without --resume"
        ) from error
    if other := _others(header.get("make", ""), make):
        raise Incompatible(
            f"{path} is of another training, with {', '.join(other)}: use the same ones, or train without --resume"
        )
    stood: dict[str, Any] = json.loads(header["progress"])
    standing.stand(Progress([Epoch(**point) for point in stood["curve"]], stood["best"]), tensors)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def made_of(config: NetworkConfig, settings: TrainingSettings, origin: Origin) -> Origin:
    """Return, as decoded JSON, all that must be the same for a resumed training to end like an uninterrupted one."""
    made = {**origin, "network shape": asdict(config), "training settings": settings.model_dump(mode="json")}
    return dict(json.loads(json.dumps(made)))


def _others(header: str, make: Origin) -> list[str]:
    try:
        header_fields = json.loads(header)
    except ValueError:
        header_fields = None
    return differences(header_fields if isinstance(header_fields, dict) else {}, make)
