"""The loss that training minimises: how improbable each event was before it was seen, and how badly the recent past is
reconstructed.

Shapes: B rows, T events, D values, C fields, K classes, R reconstructed events. Missing values and padding cost
nothing.
"""

from __future__ import annotations

from math import lgamma, log, pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from anomaly_daemon.detection.network import Prediction
from anomaly_daemon.training.chunks import Chunk
from anomaly_daemon.training.rows import NO_CLASS

FREEDOM = 8.0
"""Degrees of freedom of Student's t. Recorded streams hold unlabelled anomalies; under a Gaussian each would widen the
scale by the square of its size. With 8 degrees, the scale fitted to normally distributed values is still within a tenth
of their standard deviation (Lange et al. 1989)."""

_CONSTANT = 0.5 * log(FREEDOM * pi) + lgamma(FREEDOM / 2) - lgamma((FREEDOM + 1) / 2)


class Loss(NamedTuple):
    """Sums of losses, each with the number of terms in it, so that the mean over chunks of any size can be computed."""

    prediction: Tensor
    predicted: Tensor
    reconstruction: Tensor
    rebuilt: Tensor

    def means(self) -> tuple[Tensor, Tensor]:
        """Return the mean prediction loss (nats a value) and the mean reconstruction loss; 0 where there is no term."""
        return self.prediction / self.predicted.clamp(min=1), self.reconstruction / self.rebuilt.clamp(min=1)


def student_nll(target: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """Return the negative log likelihood of Student's t with `FREEDOM` degrees of freedom, elementwise, in nats."""
    z = (target - location) * torch.exp(-log_scale)
    return log_scale + 0.5 * (FREEDOM + 1) * torch.log1p(z**2 / FREEDOM) + _CONSTANT


def past(chunk: Chunk, reconstruct: int) -> tuple[Tensor, Tensor]:
    """Return the targets of the reconstruction: values and mask [B, T, R, D] of the last R events, newest first."""

    def windows(before: Tensor, here: Tensor) -> Tensor:
        whole = torch.cat([before[:, before.shape[1] - reconstruct + 1 :], here], dim=1)
        return whole.unfold(1, reconstruct, 1).flip(-1).transpose(-1, -2)

    return windows(chunk.past_values, chunk.inputs.values), windows(chunk.past_mask, chunk.inputs.mask)


def losses(prediction: Prediction, rebuilt: Tensor, chunk: Chunk) -> Loss:
    """Return the loss of one chunk. Each predicted class counts like one predicted value."""
    values, mask = chunk.inputs.values, chunk.inputs.mask
    nll = (student_nll(values, prediction.location, prediction.log_scale) * mask).sum()
    there = mask.sum()
    for place, logits in enumerate(prediction.logits):
        target = chunk.targets[..., place]
        nll = nll + functional.cross_entropy(
            logits.flatten(0, -2), target.flatten(), ignore_index=NO_CLASS, reduction="sum"
        )
        there = there + (target != NO_CLASS).sum()
    past_values, past_mask = past(chunk, rebuilt.shape[-2])
    # Padding has no value of its own, but past events are reconstructed at every position. So the positions behind a
    # row's last event are masked.
    past_mask = past_mask * chunk.recorded[..., None, None]
    error = functional.huber_loss(rebuilt, past_values, reduction="none") * past_mask
    return Loss(nll, there, error.sum(), past_mask.sum())
