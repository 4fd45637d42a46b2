"""What the pictures of streams have in common: a panel for each feature, one for the surprise, and plain axes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.report.scale import bounds
from anomaly_daemon.report.trace import Trace

INK, SOFT, EXPECTED, ALARM = "#1b2330", "#667085", "#3b7ae0", "#d92d20"


def moments(times: npt.NDArray[np.int64]) -> Any:
    return times.astype("datetime64[us]")


def moment(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1e6, UTC).replace(tzinfo=None)


def feature(axis: Any, trace: Trace, column: int, name: str) -> None:
    """Draw one feature's values, with the expected values and their band where they are known."""
    x = moments(trace.time_P)
    lower, upper = trace.lower_PF[:, column], trace.upper_PF[:, column]
    axis.fill_between(x, lower, upper, color=EXPECTED, alpha=0.16, linewidth=0, label="expected band")
    axis.plot(x, trace.expected_PF[:, column], color=EXPECTED, linewidth=0.9, label="expected")
    axis.plot(x, trace.actual_PF[:, column], color=INK, linewidth=0.9, label="actual")
    low, high = bounds(trace.actual_PF[:, column])
    room = 0.12 * (high - low)
    axis.set_ylim(low - room, high + room)
    plain(axis, name)


def surprise(axis: Any, trace: Trace, most: float) -> None:
    """Draw the surprise (−log₁₀ of the p-value) and the alarm level, with an axis up to `most` times that level."""
    x = moments(trace.time_P)
    axis.plot(x, trace.surprise_P, color=SOFT, linewidth=0.9)
    axis.plot(x, trace.alarm_P, color=ALARM, linewidth=1.1, linestyle=(0, (5, 3)), label="alarm level")
    known = trace.alarm_P[np.isfinite(trace.alarm_P)]
    axis.set_ylim(0, most * float(known.max()) if len(known) else None)
    plain(axis, "surprise\n(−log₁₀ p)")


def plain(axis: Any, name: str) -> None:
    axis.set_ylabel(name, color=INK, fontsize=9.5)
    axis.tick_params(colors=SOFT, labelsize=8.5, length=3)
    axis.grid(axis="y", color="#e8ebf0", linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color("#c9d0db")
