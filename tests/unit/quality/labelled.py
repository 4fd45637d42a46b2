"""Generated labelled series for the tests of the quality benchmark."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.series import Series, Span

START = 1_714_003_200_000_000
"""A Thursday, in epoch microseconds."""


def labels(events: int, *labelled: Span) -> np.ndarray:
    label_N = np.zeros(events, bool)
    for first, last in labelled:
        label_N[first : last + 1] = True
    return label_N


def wave(
    name: str = "wave", events: int = 600, fields: int = 1, start: int = 100, seed: int = 0, first: int = START
) -> Series:
    """Return noise on a daily wave of 288 events. The fourth fifth of the events is shifted and labelled."""
    random = np.random.default_rng(seed)
    place_N = np.arange(events)
    phase_D = np.linspace(0, 1, fields)
    values_ND = np.sin(2 * np.pi * (place_N[:, None] / 288 + phase_D)) + 0.1 * random.standard_normal((events, fields))
    odd = (3 * events // 5, 4 * events // 5 - 1)
    values_ND[odd[0] : odd[1] + 1] += 3.0
    return Series(name, values_ND, first + 300_000_000 * place_N, labels(events, odd), start)
