"""The resources for arithmetic: the number of threads, and the device of the network."""

from __future__ import annotations

import torch

from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.settings import Settings


def placement_of(settings: Settings) -> Placement:
    """Return the device that the network runs on. Raises ConfigurationError where there is no such device."""
    asked, there = settings.model.device, torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ConfigurationError("model.device is cuda, and torch sees no CUDA device here: set it to cpu or auto")
    return Placement.of("cuda" if there and asked != "cpu" else "cpu")


def use_threads(settings: Settings) -> None:
    """Set the number of threads for the whole process. A device that is missing is already refused here, and not only
    at the first partition."""
    placement_of(settings)
    torch.set_num_threads(settings.model.threads)
