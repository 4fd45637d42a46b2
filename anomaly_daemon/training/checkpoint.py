"""Where training stands after an epoch, as one file: a safetensors file with JSON in its header (law L12).

There is no random state in it because there is none to keep: the loop seeds every epoch from (seed, epoch).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
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
    """One point of the curve: mean losses, prediction in nats a value."""

    epoch: int
    training: float
    validation: float
    validation_prediction: float
    validation_reconstruction: float


@dataclass(slots=True)
class Progress:
    """Where training stands between two epochs."""

    curve: list[Epoch] = field(default_factory=list)
    best: int = -1
    """The epoch with the lowest validation loss, -1 before the first."""
    cut_short: bool = False
    """It has ended at the most epochs that it may take, before it stopped learning."""

    def over(self, bounds: Bounds) -> bool:
        """All epochs done, or none better for `patience` epochs."""
        done = len(self.curve)
        return done >= bounds.epochs or (done > 0 and done - 1 - self.best >= bounds.patience)

    def add(self, epoch: Epoch) -> bool:
        """Take in one more epoch; True when it is the best so far."""
        better = self.best < 0 or epoch.validation < self.curve[self.best].validation
        self.curve.append(epoch)
        self.best = epoch.epoch if better else self.best
        return better


@dataclass(slots=True)
class Standing:
    """Where training stands between two epochs."""

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
        """Before the first epoch, at the weights `start`, or else those of the seed."""
        network = Network(config, torch.Generator().manual_seed(settings.seed))
        if start is not None:
            network.load_state_dict(dict(start))
        network.to(device)
        optimizer = make_optimizer(settings.optimizer, network, settings.learning_rate)
        return cls(network, optimizer, weights(network), Progress())

    def tensors(self) -> dict[str, Tensor]:
        """All but the progress, on the CPU."""
        tensors = {f"network.{name}": value for name, value in weights(self.network).items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for place, kept in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": value.detach().cpu().contiguous() for name, value in kept.items()}
        return tensors

    def stand(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Put network and optimizer where they stood."""
        self.network.load_state_dict(_under("network.", tensors))
        kept: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            place, entry = name.split(".", 1)
            kept.setdefault(int(place), {})[entry] = value
        self.optimizer.load_state_dict({"state": kept, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.best, self.progress = _under("best.", tensors), progress


def weights(network: Network) -> dict[str, Tensor]:
    """A copy of the weights, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def refuse_foreign(path: Path) -> None:
    """Raises UsageError where something stands at `path` that is no training checkpoint: it would be written over, and
    taken away at the end."""
    if path.exists() and not _is_checkpoint(path):
        raise UsageError(
            f"{path}: this is no training checkpoint, and one would be written over it: name another, or move it away"
        )


def _is_checkpoint(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return {"make", "progress"} <= set(file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def save(path: Path, make: Origin, standing: Standing) -> None:
    """Write the file whole or not at all; `make` is what `made_of` says. Raises Unavailable where that is not possible now,
    NotPermitted where this user may not; the one before stays."""
    header = {"make": json.dumps(make, sort_keys=True), "progress": json.dumps(asdict(standing.progress))}
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.touch()
        save_file(standing.tensors(), unfinished, header)
        os.replace(unfinished, path)
    except PermissionError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror}; the epochs before are kept") from error
    except (SafetensorError, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise Unavailable(
            f"{path} cannot be written ({error}): make room, or name another place; the epochs before are kept"
        ) from error


def load(path: Path, make: Origin, standing: Standing) -> None:
    """Put training where it stood. Raises Incompatible when the file is broken, or is of another training."""
    try:
        with safe_open(path, "pt") as file:
            header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Incompatible(
            f"{path} is not a training checkpoint ({error}): remove it, or train without --resume"
        ) from error
    if other := _others(header.get("make", ""), make):
        raise Incompatible(
            f"{path} is of another training, with {', '.join(other)}: use those, or train without --resume"
        )
    stood: dict[str, Any] = json.loads(header["progress"])
    standing.stand(Progress([Epoch(**point) for point in stood["curve"]], stood["best"]), tensors)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def made_of(config: NetworkConfig, settings: TrainingSettings, origin: Origin) -> Origin:
    """What must be the same for a resumed training to end as an uninterrupted one does, as JSON has it."""
    made = {**origin, "network shape": asdict(config), "training settings": settings.model_dump(mode="json")}
    return dict(json.loads(json.dumps(made)))


def _others(header: str, make: Origin) -> list[str]:
    try:
        told = json.loads(header)
    except ValueError:
        told = None
    return differences(told if isinstance(told, dict) else {}, make)
