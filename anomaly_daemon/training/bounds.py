"""How long a training may run: the configured number of epochs, or as many as give enough optimizer steps.

What a network learns depends on the number of steps its weights have taken. An epoch over much input is thousands of
steps, an epoch over a few thousand events a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple, Self

from anomaly_daemon.settings import TrainingSettings

EPOCHS, STEPS = 20, 1000
"""Number of epochs where the settings give none: `EPOCHS`, or more where these are fewer than `STEPS` steps."""
PATIENCE, PATIENT_STEPS = 4, 200
"""The same for the number of epochs without a better validation loss."""
BETTER = 0.01
"""The decrease of the validation loss that counts as an improvement, in nats a value, the same as the gain that
`promotion` asks for."""


class Bounds(NamedTuple):
    epochs: int
    """The largest number of epochs."""
    patience: int
    """Number of epochs without a better validation loss after which training stops."""

    @classmethod
    def of(cls, settings: TrainingSettings, steps: int) -> Self:
        """Return the bounds for an input of which one epoch has this many steps."""
        return cls(
            settings.epochs or max(EPOCHS, ceil(STEPS / steps)),
            settings.patience or max(PATIENCE, ceil(PATIENT_STEPS / steps)),
        )


def cut_short(validation: Sequence[float], bounds: Bounds, usual: Bounds) -> bool:
    """Return whether a training was still learning when it reached the largest number of epochs. That is so if the last
    epoch was the best, and either fewer epochs than usual were allowed, or the second half improved on the first by
    more than `BETTER`. A better last epoch alone does not suffice: the learning rate falls until the end, so every
    training gains a little there."""
    if len(validation) < bounds.epochs or min(validation) < validation[-1]:
        return False
    half = (len(validation) + 1) // 2
    return bounds.epochs < usual.epochs or min(validation[:half]) - validation[-1] > BETTER
