"""One stream of a demo as a picture: values, expected band, the injected fault and the episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_daemon.demo.faults import DAY, Fault
from anomaly_daemon.report.episodes import Seen
from anomaly_daemon.report.matching import Hit
from anomaly_daemon.report.scale import bounds
from anomaly_daemon.report.trace import Trace

BEFORE, AFTER = int(1.5 * DAY), int(0.75 * DAY)
"""How much of the stream to show around the fault, in microseconds."""

INK, SOFT, EXPECTED, ALARM, FAULT = "#1b2330", "#667085", "#3b7ae0", "#d92d20", "#f5a524"


def chosen(hits: Sequence[Hit[Fault]], traces: Mapping[str, Trace]) -> Hit[Fault] | None:
    """The fault to draw: of those found by their values, the one whose alarm left the most time to act."""
    found = [hit for hit in hits if hit.episode is not None and hit.window.stream in traces]
    shows = [hit for hit in found if hit.episode is not None and hit.episode.kind == "pattern"] or found
    return max(shows, key=_time_left, default=None)


def _time_left(hit: Hit[Fault]) -> int:
    return 0 if hit.episode is None else hit.window.end - hit.episode.opened


def draw(path: Path, hit: Hit[Fault], trace: Trace, names: Sequence[str], episodes: Sequence[Seen]) -> None:
    """Write the PNG of the stretch around `hit`."""
    from matplotlib.figure import Figure

    fault = hit.window
    near = trace.between(fault.start - BEFORE, fault.end + AFTER)
    figure = Figure(figsize=(12, 1.75 * (len(names) + 1) + 0.9), layout="constrained", facecolor="white")
    axes = np.atleast_1d(figure.subplots(len(names) + 1, 1, sharex=True))
    for column, name in enumerate(names):
        _feature(axes[column], near, column, name)
    _surprise(axes[-1], near)
    for axis in axes:
        _spans(axis, fault, [seen for seen in episodes if seen.stream == fault.stream], near)
    figure.suptitle(f"{fault.stream}: {fault.kind}", x=0.012, ha="left", fontsize=15, fontweight="bold", color=INK)
    legends = [axis.get_legend_handles_labels() for axis in (axes[0], axes[-1])]
    marks = {word: mark for pair in legends for mark, word in zip(*pair, strict=True)}
    figure.legend(marks.values(), marks, loc="outside upper right", ncols=len(marks), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def _moments(times: npt.NDArray[np.int64]) -> Any:
    return times.astype("datetime64[us]")


def _moment(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1e6, UTC).replace(tzinfo=None)


def _feature(axis: Any, trace: Trace, column: int, name: str) -> None:
    moments = _moments(trace.time_P)
    lower, upper = trace.lower_PF[:, column], trace.upper_PF[:, column]
    axis.fill_between(moments, lower, upper, color=EXPECTED, alpha=0.16, linewidth=0, label="expected band")
    axis.plot(moments, trace.expected_PF[:, column], color=EXPECTED, linewidth=0.9, label="expected")
    axis.plot(moments, trace.actual_PF[:, column], color=INK, linewidth=0.9, label="actual")
    low, high = bounds(trace.actual_PF[:, column])
    room = 0.12 * (high - low)
    axis.set_ylim(low - room, high + room)
    _plain(axis, name)


def _surprise(axis: Any, trace: Trace) -> None:
    moments = _moments(trace.time_P)
    axis.plot(moments, trace.surprise_P, color=SOFT, linewidth=0.9)
    axis.plot(moments, trace.alarm_P, color=ALARM, linewidth=1.1, linestyle=(0, (5, 3)), label="alarm level")
    known = trace.alarm_P[np.isfinite(trace.alarm_P)]
    axis.set_ylim(0, 3 * float(known.max()) if len(known) else None)
    _plain(axis, "surprise\n(−log₁₀ p)")


def _spans(axis: Any, fault: Fault, episodes: Sequence[Seen], trace: Trace) -> None:
    first, last = int(trace.time_P[0]), int(trace.time_P[-1])
    axis.axvspan(_moment(fault.start), _moment(fault.end), color=FAULT, alpha=0.22, linewidth=0, label="injected fault")
    from matplotlib.dates import ConciseDateFormatter

    label = "episode"
    for seen in episodes:
        start, end = seen.start, last if seen.end is None else seen.end
        if end >= first and start <= last:
            axis.axvspan(_moment(start), _moment(end), ymax=0.05, color=ALARM, linewidth=1.5, label=label)
            axis.axvline(_moment(seen.opened), color=ALARM, linewidth=0.9)
            label = "_again"
    axis.set_xlim(_moment(first), _moment(last))
    axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))


def _plain(axis: Any, name: str) -> None:
    axis.set_ylabel(name, color=INK, fontsize=9.5)
    axis.tick_params(colors=SOFT, labelsize=8.5, length=3)
    axis.grid(axis="y", color="#e8ebf0", linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color("#c9d0db")
