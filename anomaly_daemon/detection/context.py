"""The context of an event, known before its value: the time since the stream's last event, and the calendar.

Shapes: N events, X = network.CONTEXT inputs. Times are epoch microseconds, UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import cos, log, pi, sin
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.network import CONTEXT
from anomaly_daemon.detection.observation import Float64, Int64

SECOND = 1_000_000
DAY, WEEK = 86_400.0, 604_800.0
QUARTER_HOUR = 900 * SECOND
"""The clock of every time zone changes at a multiple of a quarter of an hour, so one look-up serves all events within
it."""

GAP_RANGE = 5.0
"""The logarithm of the gap ratio is clipped to plus or minus this: e to the 5th is 148 times the usual gap."""


def context(time_N: Int64, gap_N: Float64, typical_gap_N: Float64, timezone: str) -> npt.NDArray[np.float32]:
    """Return [N, X]: the logarithm of the gap over the stream's typical gap, and sine and cosine of the time of day and
    of the week.

    `gap_N` and `typical_gap_N` are in the same unit; where either is 0 or unknown (NaN) the logarithm is 0.
    """
    out_NX = np.empty((len(time_N), CONTEXT), np.float32)
    _tell(time_N / SECOND + offsets(time_N, timezone), gap_N, typical_gap_N, out_NX)
    return out_NX


@compiled
def _tell(local_N: Float64, gap_N: Float64, typical_gap_N: Float64, out_NX: npt.NDArray[np.float32]) -> None:
    """Compute the context into `out_NX`. `local_N`: seconds of the local calendar since the epoch, which was a
    Thursday; weeks start on Monday."""
    for n in range(len(local_N)):
        gap, typical = gap_N[n], typical_gap_N[n]
        out_NX[n, 0] = min(max(log(gap / typical), -GAP_RANGE), GAP_RANGE) if gap > 0 and typical > 0 else 0.0
        day = (local_N[n] % DAY) * (2 * pi / DAY)
        week = ((local_N[n] + 3 * DAY) % WEEK) * (2 * pi / WEEK)
        out_NX[n, 1], out_NX[n, 2], out_NX[n, 3], out_NX[n, 4] = sin(day), cos(day), sin(week), cos(week)


def offsets(time_N: Int64, timezone: str) -> Float64:
    """Return the seconds to add to UTC for the local time in `timezone`, [N]."""
    if timezone == "UTC":
        return np.zeros(len(time_N))
    zone = ZoneInfo(timezone)
    quarters, place = np.unique(time_N // QUARTER_HOUR, return_inverse=True)
    seconds = [_offset(int(quarter) * 900, zone) for quarter in quarters]
    return np.asarray(seconds, np.float64)[place]


def _offset(epoch_seconds: int, zone: ZoneInfo) -> float:
    try:
        offset = datetime.fromtimestamp(epoch_seconds, UTC).astimezone(zone).utcoffset()
    except (OverflowError, ValueError, OSError):  # a year outside 1..9999: no calendar there
        return 0.0
    return offset.total_seconds() if offset is not None else 0.0
