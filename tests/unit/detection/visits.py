"""A row that knows nothing but the time of day and of the week, and events for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anomaly_daemon.detection import season
from anomaly_daemon.detection.season import Residual
from anomaly_daemon.detection.state import Rows, StateLayout

LAYOUT = StateLayout(*season.columns(1))
DAY, HALF_HOUR = 86_400, 1800
MIDNIGHT = 1_704_067_200
"""Midnight of 1 January 2024, UTC, in epoch seconds."""


def fed(rows: Rows, seconds: float, value: float, timezone: str = "UTC", pace: float = 1.0) -> Residual:
    """Take in one event of the only row, and return its residual."""
    (visit,) = season.visits(np.array([int(seconds * 1e6)]), timezone)
    at, (carried_P,), (row_Q,) = season.at(LAYOUT), rows.carried_BP, rows.statistics_BQ
    season.come(carried_P, row_Q, at, 1, visit)
    return season.residual(carried_P, row_Q, at, 1, 0, value, 0.0, 1e-4, pace)


def days(
    rows: Rows, count: int, value_at: Callable[[int, int], float], first: int = 0, pace: float = 1.0
) -> list[Residual]:
    """Take in an event each half hour, with the value `value_at(day, bin)`, and return the residuals."""
    return [
        fed(rows, MIDNIGHT + day * DAY + place * HALF_HOUR, float(value_at(day, place)), pace=pace)
        for day in range(first, first + count)
        for place in range(48)
    ]
