"""What is measured, and how: the shortest of many runs, contenders in turn, so that a busy machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One figure."""

    benchmark: str
    case: str
    metric: str
    value: float


def shortest(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The shortest time of each call, made in turn for so long each."""
    for call in calls.values():
        call()
    best, deadline = dict.fromkeys(calls, float("inf")), time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < deadline:
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def cpu_seconds(call: Callable[[], object]) -> float:
    """Of this process, once."""
    began = time.process_time()
    call()
    return time.process_time() - began


def slope(sizes: list[float], values: list[float]) -> float:
    """The exponent of the power law through these points: 0 does not depend on the size, -1 is inverse to it."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
