"""The optimizer and its learning rate."""

from __future__ import annotations

from math import cos, pi

import torch
from torch import nn

WARM_UP = 0.05
"""Share of the training during which the learning rate rises to its peak, because Adam's first estimates are poor."""

FINAL = 0.05
"""The learning rate at the end, as a share of the peak."""


def learning_rate(progress: float, peak: float) -> float:
    """Return the learning rate: a linear warm-up, then a cosine decay (Loshchilov and Hutter 2017). `progress` is the
    share of the training that is done."""
    if progress < WARM_UP:
        return peak * max(progress / WARM_UP, FINAL)
    along = min((progress - WARM_UP) / (1.0 - WARM_UP), 1.0)
    return peak * (FINAL + (1.0 - FINAL) * 0.5 * (1.0 + cos(pi * along)))


def make_optimizer(name: str, network: nn.Module, peak: float) -> torch.optim.Optimizer:
    """Return Adam (Kingma and Ba 2015) if `name` is "adam", else RMSprop (Hinton 2012)."""
    if name == "adam":
        return torch.optim.Adam(network.parameters(), lr=peak)
    return torch.optim.RMSprop(network.parameters(), lr=peak)
