"""How long a training may go on: as many passes as were asked for, or as many as take steps enough.

What a network learns goes by the steps its weights have taken. A pass over much input is thousands of them, one over a
few thousand events a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple, Self

from anomaly_daemon.settings import TrainingSettings

EPOCHS, STEPS = 20, 1000
"""Passes where none are asked for: this many, and more where these are fewer steps."""
PATIENCE, PATIENT_STEPS = 4, 200
"""The same of those without a better validation loss."""
BETTER = 0.01
"""Of the validation loss: nats a value, as `promotion` counts them."""


class Bounds(NamedTuple):
    epochs: int
    """The most passes."""
    patience: int
    """Passes without a better validation loss before training stops."""

    @classmethod
    def of(cls, settings: TrainingSettings, steps: int) -> Self:
        """Of an input of which one pass is so many steps."""
        return cls(
            settings.epochs or max(EPOCHS, ceil(STEPS / steps)),
            settings.patience or max(PATIENCE, ceil(PATIENT_STEPS / steps)),
        )


def cut_short(validation: Sequence[float], bounds: Bounds, usual: Bounds) -> bool:
    """Whether a training was still learning when it ended at the most epochs: the last was the best, and there were fewer
    than usual, or the second half of them was better. The learning rate goes down to the end, so every one gains a little.
    """
    if len(validation) < bounds.epochs or min(validation) < validation[-1]:
        return False
    half = (len(validation) + 1) // 2
    return bounds.epochs < usual.epochs or min(validation[:half]) - validation[-1] > BETTER
