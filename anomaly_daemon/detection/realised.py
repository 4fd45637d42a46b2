"""What a stream spends of its alarm budget: pattern episodes that it opened, over about the last month.

The older an opening, the less it counts (a moving average in event time); of a younger stream all of its days count. A mean
over all that a stream has lived would not show a storm of today in one that has been quiet for a year.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anomaly_daemon.detection.elementary import exp, exponentials
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, Rows

DAY = 86_400.0 * 1e6
"""Microseconds."""

MONTH = 30.0 * DAY
"""By how long ago an opening counts for 1 / e."""

COLUMNS = (Column("opens"), Column("opens_at"))
"""Openings, as they count at the time of the last one; that time."""


class Spent(NamedTuple):
    """Openings and days, as they count."""

    opens: float
    days: float

    @property
    def rate(self) -> float | None:
        """A day; None before a day has been seen."""
        return self.opens / self.days if self.days >= _days(np.full(1, DAY))[0] else None


def spent(opens_B: Float64, at_B: Float64, first_B: Float64, last_B: Float64) -> Spent:
    """Of streams together. The times of their last openings, and of their first and last events."""
    opens = (opens_B * _left(last_B - at_B)).sum()
    return Spent(float(opens), float(_days(last_B - first_B).sum()))


def count(rows: Rows, row: int, time: float) -> None:
    """A row's stream opens an episode."""
    opens, at = rows["opens"][row], rows["opens_at"][row]
    rows["opens"][row], rows["opens_at"][row] = opens * exp(-max(time - at, 0.0) / MONTH) + 1.0, time


def complete(rows: Rows) -> None:
    """Rows of a release that counted all of a stream's openings alike: the same rate, up to their last event."""
    old_B = (rows["opens"] > 0.0) & (rows["opens_at"] == 0.0)
    age_B = rows["last_time"][old_B] - rows["first_time"][old_B]
    rows["opens"][old_B] *= _days(age_B) / np.maximum(age_B / DAY, 1.0)
    rows["opens_at"][old_B] = rows["last_time"][old_B]


def _days(age_B: Float64) -> Float64:
    """That a stream of this age has had, as they count."""
    return MONTH / DAY * (1.0 - _left(age_B))


def _left(age_B: Float64) -> Float64:
    """What is left of one that is so long ago: the same bits on every processor, for an alert tells of it."""
    left_B = np.empty(len(age_B))
    exponentials(-np.maximum(age_B, 0.0) / MONTH, left_B)
    return left_B
