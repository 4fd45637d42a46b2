"""Draws an episode: the stream before, during and after it, what was expected, and the score against its threshold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_daemon.detection import rate
from anomaly_daemon.detection.alert import Alert, Event
from anomaly_daemon.detection.observation import Observations, Schema
from anomaly_daemon.detection.scores import Scores, Step
from anomaly_daemon.replay.compare import Verdict
from anomaly_daemon.replay.episode import Replayed
from anomaly_daemon.report.axes import ALARM, INK, SOFT, feature, moment, surprise
from anomaly_daemon.report.episodes import leading, micros
from anomaly_daemon.report.trace import POINTS, Growing, Trace, joined, points

EVENTS = 150
"""Number of the trace's points that are drawn before the opening, and after the end."""
MOST_PANELS = 6
GAPS = 5
"""No line is drawn between two points whose distance is more than this many usual (median) ones."""
UNKNOWN = [name for name in Trace.__dataclass_fields__ if name != "time_P"]
SURPRISES = 5.0
"""How far up the score is drawn, as a multiple of the alarm level."""
TITLE, REASON = 76, 150
"""The number of characters that there is room for."""


class Around:
    """An observer that keeps one stream's trace from the offset `first` on. Events far before the episode are not
    drawn."""

    def __init__(self, key: str, first: int) -> None:
        self._key, self._first = key, first
        self._growing = Growing(POINTS)
        self._empty = True

    def __call__(self, observations: Observations, step: Step) -> None:
        if self._key in observations.keys:
            own_N = observations.stream_N == observations.keys.index(self._key)
            rows = np.flatnonzero(own_N & (observations.offset_N >= self._first))
            self._growing.add(points(observations, step).at(rows))
            self._empty = False

    def values(self, observations: Observations, schema: Schema) -> None:
        """Add earlier observations, of which only the values are known."""
        if self._key in observations.keys:
            own = observations.take(np.flatnonzero(observations.stream_N == observations.keys.index(self._key)))
            counter_C = rate.counters(schema.numeric)
            scores = Scores.blank(len(own), len(schema.names), len(counter_C))
            scores.rate_NC[:] = rate.of_series(schema.numeric, own.time_N, own.values_ND)[:, counter_C]
            self(own, Step(scores, [], counter_C))

    def trace(self) -> Trace | None:
        """Return the trace; None when there is nothing of the stream."""
        trace = None if self._empty else self._growing.trace()
        return trace if trace is not None and len(trace) else None


def together(traces: Iterable[Trace | None]) -> Trace | None:
    known = [trace for trace in traces if trace is not None]
    return joined(known) if known else None


def draw(path: Path, outcome: Replayed, trace: Trace, names: Sequence[str]) -> None:
    """Write the picture, in the format that the file's suffix names (.png, .svg, .pdf). `names` are the numeric
    features."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}), warnings.catch_warnings():  # a name may hold dollars
        warnings.filterwarnings("ignore", "Glyph .* missing")  # such a glyph is drawn as a box
        _figure(outcome, trace, names).savefig(path, dpi=130)


def _figure(outcome: Replayed, trace: Trace, names: Sequence[str]) -> Any:
    from matplotlib.figure import Figure

    messages = outcome.then.messages
    drawn = near(trace, messages)
    shown = _shown(names, messages)
    figure = Figure(figsize=(12, 1.75 * (len(shown) + 1) + 1.1), layout="constrained", facecolor="white")
    axes = np.atleast_1d(figure.subplots(len(shown) + 1, 1, sharex=True))
    for axis, column in zip(axes, shown, strict=False):
        feature(axis, drawn, column, names[column])
    surprise(axes[-1], drawn, SURPRISES)
    for axis in axes:
        _shade(axis, messages, drawn)
    _title(figure, outcome)
    axes[0].set_title(line(messages[0].reason, REASON), loc="left", fontsize=9.5, color=SOFT)
    legends = [axis.get_legend_handles_labels() for axis in (axes[0], axes[-1])]
    marks = {word: mark for pair in legends for mark, word in zip(*pair, strict=True)}
    figure.legend(marks.values(), marks, loc="outside lower right", ncols=len(marks), frameon=False, fontsize=9)
    return figure


def near(trace: Trace, messages: Sequence[Alert]) -> Trace:
    """Return the trace from `EVENTS` points before the opening to `EVENTS` points after the last message."""
    trace, opened, ended = trace.in_time(), micros(messages[0].episode.start), micros(messages[-1].times.event)
    first = int(np.searchsorted(trace.time_P, opened)) - EVENTS
    last = int(np.searchsorted(trace.time_P, ended, side="right")) + EVENTS
    return _with_gaps(trace.at(slice(max(first, 0), last)))


def _with_gaps(trace: Trace) -> Trace:
    """Return the trace with an unknown point in each long gap, so that no line is drawn across it: such a line would
    show values that never existed."""
    gap_P = np.diff(trace.time_P)
    some = gap_P[gap_P > 0]  # several records may share a time
    after = np.flatnonzero(gap_P > GAPS * np.median(some)) if len(some) else some
    columns = {name: np.insert(getattr(trace, name), after + 1, np.nan, axis=0) for name in UNKNOWN}
    return Trace(time_P=np.insert(trace.time_P, after + 1, trace.time_P[after] + 1), **columns)


def _shown(names: Sequence[str], messages: Sequence[Alert]) -> list[int]:
    """Return the columns to draw, in their order. Where there is no room for all, those that the alerts name take
    precedence, the leading ones before the others."""
    named = [
        part.name for alert in messages for part in sorted(alert.features, key=lambda part: -part.prediction_share)
    ]
    order = [names.index(name) for name in dict.fromkeys(named) if name in names]
    rest = [column for column in range(len(names)) if column not in order]
    return sorted((order + rest)[:MOST_PANELS])


def _shade(axis: Any, messages: Sequence[Alert], drawn: Trace) -> None:
    from matplotlib.dates import ConciseDateFormatter

    first, last = messages[0], messages[-1]
    start = micros(first.episode.start)
    end = micros(last.episode.end) if last.episode.end else max(micros(last.times.event), int(drawn.time_P[-1]))
    axis.axvspan(moment(start), moment(end), color=ALARM, alpha=0.10, linewidth=0, label="episode")
    for alert in messages:
        if alert.event is not Event.CLOSE:
            axis.axvline(moment(micros(alert.times.event)), color=ALARM, linewidth=0.9, label="_told")
    axis.set_xlim(moment(min(int(drawn.time_P[0]), start)), moment(max(int(drawn.time_P[-1]), end)))
    axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))


def _title(figure: Any, outcome: Replayed) -> None:
    alert = outcome.then.first
    led = leading(alert.features)
    what = f": {alert.kind}" + (f" ({line(led.name, TITLE // 2)})" if led is not None else "")
    colour = ALARM if outcome.verdict is Verdict.DIFFERENT else INK
    title = line(alert.stream.key, TITLE - len(what)) + what
    figure.suptitle(title, x=0.012, ha="left", fontsize=15, fontweight="bold", color=INK)
    figure.text(0.988, 0.985, f"replay: {outcome.verdict}", ha="right", va="top", fontsize=10, color=colour)


def line(text: str, most: int) -> str:
    """Return a text from outside on one line, cut to `most` characters."""
    text = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
