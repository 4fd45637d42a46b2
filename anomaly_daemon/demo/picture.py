"""Draws one stream of a demo: values, expected band, the injected fault and the episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_daemon.demo.faults import DAY, Fault
from anomaly_daemon.report.axes import ALARM, INK, feature, moment, surprise
from anomaly_daemon.report.episodes import Seen
from anomaly_daemon.report.matching import Hit
from anomaly_daemon.report.trace import Trace

BEFORE, AFTER = int(1.5 * DAY), int(0.75 * DAY)
"""How much of the stream is shown before and after the fault, in microseconds."""

FAULT = "#f5a524"


def chosen(hits: Sequence[Hit[Fault]], traces: Mapping[str, Trace]) -> Hit[Fault] | None:
    """Return the fault to draw, None when none was found. Of the faults found by their values (or else of all found),
    it is the one whose alarm left the most time to act."""
    found = [hit for hit in hits if hit.episode is not None and hit.window.stream in traces]
    shows = [hit for hit in found if hit.episode is not None and hit.episode.kind == "pattern"] or found
    return max(shows, key=_time_left, default=None)


def _time_left(hit: Hit[Fault]) -> int:
    return 0 if hit.episode is None else hit.window.end - hit.episode.opened


def draw(path: Path, hit: Hit[Fault], trace: Trace, names: Sequence[str], episodes: Sequence[Seen]) -> None:
    """Write the PNG of the time around `hit`."""
    from matplotlib.figure import Figure

    fault = hit.window
    near = trace.between(fault.start - BEFORE, fault.end + AFTER).in_time()
    figure = Figure(figsize=(12, 1.75 * (len(names) + 1) + 0.9), layout="constrained", facecolor="white")
    axes = np.atleast_1d(figure.subplots(len(names) + 1, 1, sharex=True))
    for column, name in enumerate(names):
        feature(axes[column], near, column, name)
    surprise(axes[-1], near, most=3)
    for axis in axes:
        _spans(axis, fault, [seen for seen in episodes if seen.stream == fault.stream], near)
    figure.suptitle(f"{fault.stream}: {fault.kind}", x=0.012, ha="left", fontsize=15, fontweight="bold", color=INK)
    legends = [axis.get_legend_handles_labels() for axis in (axes[0], axes[-1])]
    marks = {word: mark for pair in legends for mark, word in zip(*pair, strict=True)}
    figure.legend(marks.values(), marks, loc="outside upper right", ncols=len(marks), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def _spans(axis: Any, fault: Fault, episodes: Sequence[Seen], trace: Trace) -> None:
    first, last = int(trace.time_P[0]), int(trace.time_P[-1])
    axis.axvspan(moment(fault.start), moment(fault.end), color=FAULT, alpha=0.22, linewidth=0, label="injected fault")
    from matplotlib.dates import ConciseDateFormatter

    label = "episode"
    for seen in episodes:
        start, end = seen.start, last if seen.end is None else seen.end
        if end >= first and start <= last:
            axis.axvspan(moment(start), moment(end), ymax=0.05, color=ALARM, linewidth=1.5, label=label)
            axis.axvline(moment(seen.opened), color=ALARM, linewidth=0.9)
            label = "_again"
    axis.set_xlim(moment(first), moment(last))
    axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))
