"""The figures that are measured, and how: as the shortest of many runs, with contenders in turn, so that other load on
the machine affects all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One figure of a benchmark."""

    benchmark: str
    case: str
    metric: str
    value: float


def shortest(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Return the shortest time of each call, in seconds. The calls are made in turn, for `seconds` times their number
    in all, after one call of each that is not timed."""
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
    """Return the CPU-seconds of this process for one call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def slope(sizes: list[float], values: list[float]) -> float:
    """Return the exponent of the power law through these points: 0 if the values do not depend on the size, -1 if they
    are inverse to it."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
