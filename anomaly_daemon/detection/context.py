"""What is known of an event before its value: the time since the last one, and the calendar.

Shapes: N events, X = network.CONTEXT inputs. Times are epoch microseconds, UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.network import CONTEXT
from anomaly_daemon.detection.observation import Float64, Int64

SECOND = 1_000_000
QUARTER_HOUR = 900 * SECOND
"""Every zone's clock changes on a quarter of an hour, so one look-up serves all events within it."""

GAP_RANGE = 5.0
"""The log gap ratio is held within plus or minus this: e to the 5th is 148 times the usual gap."""


def context(time_N: Int64, gap_N: Float64, typical_gap_N: Float64, timezone: str) -> npt.NDArray[np.float32]:
    """[N, X]: log of the gap over the stream's typical gap, sine and cosine of the time of day and of the week.

    `gap_N` and `typical_gap_N` are in one unit; where either is 0 or unknown (NaN) the log gap is 0.
    """
    out_NX = np.zeros((len(time_N), CONTEXT), np.float32)
    known = (gap_N > 0) & (typical_gap_N > 0)
    ratio = np.where(known, gap_N, 1.0) / np.where(known, typical_gap_N, 1.0)
    out_NX[:, 0] = np.clip(np.log(ratio), -GAP_RANGE, GAP_RANGE)
    local = time_N / SECOND + offsets(time_N, timezone)
    day = (local % 86_400.0) * (2 * np.pi / 86_400.0)
    week = ((local + 3 * 86_400.0) % 604_800.0) * (
        2 * np.pi / 604_800.0
    )  # the epoch was a Thursday; weeks start on Monday
    for column, angle in ((1, day), (3, week)):
        out_NX[:, column] = np.sin(angle)
        out_NX[:, column + 1] = np.cos(angle)
    return out_NX


def offsets(time_N: Int64, timezone: str) -> Float64:
    """Seconds to add to UTC for the local time in `timezone`, [N]."""
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
