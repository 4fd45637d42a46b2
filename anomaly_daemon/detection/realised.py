"""How much of its alarm budget a stream spends: the pattern episodes that it opened, over about the last month.

The older an opening is, the less it counts (it decays exponentially in event time). The days of a stream are weighted
in the same way, so in a stream younger than a month nearly all of its days count. A mean over a stream's whole life
would not show today's many alarms in a stream that has been quiet for a year.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anomaly_daemon.detection.elementary import exp, exponentials
from anomaly_daemon.detection.observation import Float64
from anomaly_daemon.detection.state import Column, Rows

DAY = 86_400.0 * 1e6
"""A day in microseconds."""

MONTH = 30.0 * DAY
"""The age at which an opening counts for 1 / e, in microseconds."""

COLUMNS = (Column("opens"), Column("opens_at"))
"""The weighted number of openings as of the last one, and the time of the last one."""


class Spent(NamedTuple):
    """The weighted numbers of openings and of days."""

    opens: float
    days: float

    @property
    def rate(self) -> float | None:
        """Openings per day; None before a day has been seen."""
        return self.opens / self.days if self.days >= _days(np.full(1, DAY))[0] else None


def spent(opens_B: Float64, at_B: Float64, first_B: Float64, last_B: Float64) -> Spent:
    """Return the weighted openings and days of these streams together, from the times of their last openings and of
    their first and last events."""
    opens = (opens_B * _left(last_B - at_B)).sum()
    return Spent(float(opens), float(_days(last_B - first_B).sum()))


def count(rows: Rows, row: int, time: float) -> None:
    """Count an episode that a row's stream opens at `time`."""
    opens, at = rows["opens"][row], rows["opens_at"][row]
    rows["opens"][row], rows["opens_at"][row] = opens * exp(-max(time - at, 0.0) / MONTH) + 1.0, time


def complete(rows: Rows) -> None:
    """Convert rows of a release that counted all openings of a stream alike: the rate up to their last event stays the
    same."""
    old_B = (rows["opens"] > 0.0) & (rows["opens_at"] == 0.0)
    age_B = rows["last_time"][old_B] - rows["first_time"][old_B]
    rows["opens"][old_B] *= _days(age_B) / np.maximum(age_B / DAY, 1.0)
    rows["opens_at"][old_B] = rows["last_time"][old_B]


def _days(age_B: Float64) -> Float64:
    """Return the weighted number of days that a stream of this age has had."""
    return MONTH / DAY * (1.0 - _left(age_B))


def _left(age_B: Float64) -> Float64:
    """Return the weight of something that happened this long ago. It has the same bits on every processor, because an
    alert reports the rate."""
    left_B = np.empty(len(age_B))
    exponentials(-np.maximum(age_B, 0.0) / MONTH, left_B)
    return left_B
