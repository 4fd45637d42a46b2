"""Draws a stream as SVG: each feature with its expected band, the surprise below them, labels and episodes in the
background.

Colours are CSS classes, so that the page decides between light and dark. There is no script, and nothing is loaded from
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from anomaly_daemon.report.episodes import Seen, iso
from anomaly_daemon.report.matching import Labelled
from anomaly_daemon.report.scale import Scale, bounds, time_ticks, value_ticks
from anomaly_daemon.report.trace import Trace

Float64 = npt.NDArray[np.float64]

WIDTH, PANEL, GAP, LEFT, RIGHT, TOP, BOTTOM = 1060, 104, 16, 78, 10, 8, 26
"""Pixels: the width of the whole plot, the height of one panel and the gap under it, and the margins."""

MOST_PANELS = 4
MINIMUM_WIDTH = 2.0
"""Width in pixels of the narrowest episode or label, so that one of a single event is visible."""

EDGE = 5
"""Height in pixels of the solid edge over an episode, which distinguishes it from a label behind it."""


def stream_plot(trace: Trace, names: Sequence[str], labels: Iterable[Labelled], episodes: Sequence[Seen]) -> str:
    """Return the SVG of one stream. `names` are the numeric features. Up to `MOST_PANELS` are drawn, in their order;
    those that led an episode take precedence."""
    trace, shown = trace.in_time(), _shown(names, episodes)
    height = height_of(len(shown))
    time = Scale(int(trace.time_P[0]), max(int(trace.time_P[-1]), int(trace.time_P[0]) + 1), LEFT, WIDTH - RIGHT)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="values, expected band and alarms">'
    ]
    parts += [_span(time, window.start, window.end, height, "label", "labelled") for window in labels]
    for episode in episodes:
        end = int(time.high) if episode.end is None else episode.end
        parts.append(_span(time, episode.start, end, height, f"episode {escape(episode.kind)}", _words(episode)))
        parts.append(
            _span(time, episode.start, end, TOP + BOTTOM + EDGE, f"edge {escape(episode.kind)}", _words(episode))
        )
    for place, column in enumerate(shown):
        parts += _feature(trace, column, names[column], time, TOP + place * (PANEL + GAP))
    parts += _surprise(trace, time, TOP + len(shown) * (PANEL + GAP))
    parts += _time_axis(time, height)
    return "".join([*parts, "</svg>"])


def height_of(features: int) -> int:
    """Return the height in pixels of a stream's plot with this number of features."""
    return TOP + (features + 1) * (PANEL + GAP) - GAP + BOTTOM


def _shown(names: Sequence[str], episodes: Sequence[Seen]) -> list[int]:
    led = [names.index(e.feature.name) for e in episodes if e.feature is not None and e.feature.name in names]
    first = sorted(set(led), key=lambda column: -led.count(column))
    return sorted((first + [column for column in range(len(names)) if column not in first])[:MOST_PANELS])


def _words(episode: Seen) -> str:
    return f"{episode.kind}, severity {episode.severity:.0f}, opened {iso(episode.opened)}: {episode.reason}"


def _span(time: Scale, start: int, end: int, height: int, style: str, title: str) -> str:
    left, right = (float(value) for value in np.clip(time([start, end]), LEFT, WIDTH - RIGHT))
    if end < time.low or start > time.high:
        return ""
    return (
        f'<rect class="{style}" x="{left:.1f}" y="{TOP}" width="{max(right - left, MINIMUM_WIDTH):.1f}" '
        f'height="{height - TOP - BOTTOM}"><title>{escape(title)}</title></rect>'
    )


def _feature(trace: Trace, column: int, name: str, time: Scale, top: float) -> list[str]:
    actual, lower, upper = trace.actual_PF[:, column], trace.lower_PF[:, column], trace.upper_PF[:, column]
    value = Scale(*bounds(actual, *_moderate(actual, lower, upper)), top + PANEL, top)
    x = time(trace.time_P)
    low, high, expected = (
        np.clip(value(line), top, top + PANEL) for line in (lower, upper, trace.expected_PF[:, column])
    )
    return [
        *_frame(value, top, name),
        f'<path class="band" d="{_area(x, low, high)}"/>',
        f'<path class="expected" d="{_line(x, expected)}"/>',
        f'<path class="actual" d="{_line(x, value(actual))}"/>',
    ]


def _moderate(actual: Float64, lower: Float64, upper: Float64) -> list[Float64]:
    """Return the band's edges, limited to a little beyond the values. The axis would otherwise extend to a wide band
    (that of a cold stream), and flatten the values to a line."""
    low, high = bounds(actual)
    reach = 0.3 * (high - low)
    return [np.clip(edge, low - reach, high + reach) for edge in (lower, upper)]


def _surprise(trace: Trace, time: Scale, top: float) -> list[str]:
    alarm = float(np.nanmax(trace.alarm_P)) if np.isfinite(trace.alarm_P).any() else 5.0
    surprise = np.clip(trace.surprise_P, 0, 3 * alarm)
    value = Scale(0, max(alarm * 1.3, bounds(surprise)[1]), top + PANEL, top)
    x = time(trace.time_P)
    return [
        *_frame(value, top, "surprise (decimal places of p)"),
        f'<path class="surprise" d="{_line(x, value(surprise))}"/>',
        f'<path class="alarm" d="{_line(x, value(trace.alarm_P))}"/>',
    ]


def _frame(value: Scale, top: float, name: str) -> list[str]:
    parts = [f'<rect class="frame" x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{PANEL}"/>']
    for tick, text in value_ticks(value.low, value.high):
        y = float(value(tick))
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<text class="name" x="{LEFT + 7}" y="{top + 15}">{escape(name)}</text>')
    return parts


def _time_axis(time: Scale, height: int) -> list[str]:
    places = time_ticks(int(time.low), int(time.high))
    return [
        f'<text class="tick" x="{float(time(place)):.1f}" y="{height - 8}" text-anchor="middle">{text}</text>'
        for place, text in places
        if LEFT + 20 < float(time(place)) < WIDTH - RIGHT - 20
    ]


def _line(x: Float64, y: Float64) -> str:
    """Return a path that is interrupted where a value is not known."""
    return "".join("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x[run], y[run], strict=True)) for run in _runs(y))


def _area(x: Float64, low: Float64, high: Float64) -> str:
    """Return a closed path between two lines for each run of known values."""
    parts = []
    for run in _runs(low + high):
        there = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run], high[run], strict=True)]
        back = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run][::-1], low[run][::-1], strict=True)]
        parts.append("M" + "L".join(there + back) + "Z")
    return "".join(parts)


def _runs(values: Float64) -> list[slice]:
    """Return the intervals without NaN."""
    known = np.concatenate([[False], np.isfinite(values), [False]])
    edges = np.flatnonzero(known[1:] != known[:-1])
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
