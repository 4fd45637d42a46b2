"""Where the remaining error is: labelled events without an alarm, drawn with the events around them.

Of the labelled events without an alarm, those with the lowest peak of surprise come first, because they are no near
misses. Each event is drawn with an interval of its own length on either side, in the three fields that it changes most,
with the surprise below.

Shapes: N events of a series, P events of a picture, D fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_daemon.report.episodes import Seen
from anomaly_daemon.report.matching import Window
from anomaly_daemon.report.svg import height_of, stream_plot
from anomaly_daemon.report.trace import Trace
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.series import Bool, Float64, Int64, Series, Span, spans

MOST = 3
"""Most events shown of a set."""
FIELDS = 3
AROUND = 150
"""Least number of events drawn on either side: fewer do not show what is usual."""
POINTS = 1500
"""About the number of events drawn: two a pixel. A longer interval is thinned out."""


@dataclass(frozen=True, slots=True)
class Missed:
    """One labelled event that was missed, with the events around it."""

    series: str
    span: Span
    peak: float
    """The highest surprise in the event."""
    fields: tuple[int, ...]
    time_P: Int64
    values_PD: Float64
    """The values of `fields`."""
    score_P: Float64
    label_P: Bool
    open_P: Bool

    def picture(self) -> str:
        """Return the picture as SVG."""
        none_PD, none_P = np.full_like(self.values_PD, np.nan), np.full(len(self.time_P), np.nan)
        trace = Trace(self.time_P, self.values_PD, none_PD, none_PD, none_PD, self.score_P, none_P)
        labels = [Window(self.series, *times) for times in self._times(self.label_P)]
        episodes = [_seen(self.series, *times) for times in self._times(self.open_P)]
        return stream_plot(trace, [f"field {number}" for number in self.fields], labels, episodes)

    @property
    def height(self) -> int:
        """The height of the picture, in pixels."""
        return height_of(len(self.fields))

    def _times(self, column_P: Bool) -> Iterable[tuple[int, int]]:
        return ((int(self.time_P[first]), int(self.time_P[last])) for first, last in spans(column_P))


def _seen(series: str, start: int, end: int) -> Seen:
    return Seen("", series, "pattern", start, start, end, 0.0, 0, "an episode is open", None)


def worst(series: Sequence[Series], outcomes: Sequence[Outcome]) -> tuple[Missed, ...]:
    """Return the worst-missed events of a set, at most one a series, the worst first."""
    found = [missed for pair in zip(series, outcomes, strict=True) if (missed := _worst_of(*pair))]
    return tuple(sorted(found, key=lambda one: one.peak)[:MOST])


def _worst_of(series: Series, outcome: Outcome) -> Missed | None:
    scored = np.arange(len(series)) >= series.start
    missed = [span for span in spans(series.label_N & scored) if not outcome.opened_N[span[0] : span[1] + 1].any()]
    peaks = [float(np.nanmax(outcome.known_N[first : last + 1])) for first, last in missed]
    return _missed(series, outcome, missed[int(np.argmin(peaks))], min(peaks)) if missed else None


def _missed(series: Series, outcome: Outcome, span: Span, peak: float) -> Missed:
    first, last = span
    reach = max(last - first + 1, AROUND)
    around = slice(max(first - reach, 0), last + reach + 1, max((last - first + 1 + 2 * reach) // POINTS, 1))
    fields = _most_changed(series, span)
    return Missed(
        series.name,
        span,
        peak,
        fields,
        series.time_N[around],
        series.values_ND[around][:, fields],
        outcome.score_N[around],
        series.label_N[around],
        outcome.open_N[around],
    )


def _most_changed(series: Series, span: Span) -> tuple[int, ...]:
    """Return the fields whose mean or spread in the event differs most from that in the events just before it."""
    inside_ND = series.values_ND[span[0] : span[1] + 1]
    before_ND = series.values_ND[max(span[0] - 10 * AROUND, 0) : span[0]]
    spread_D = np.nanstd(before_ND, axis=0) + 1e-6
    moved_D = np.abs(np.nanmean(inside_ND, axis=0) - np.nanmean(before_ND, axis=0)) / spread_D
    widened_D = np.abs(np.log((np.nanstd(inside_ND, axis=0) + 1e-6) / spread_D))
    changed_D = np.nan_to_num(moved_D + widened_D)
    most = [place for place in np.argsort(-changed_D)[:FIELDS].tolist() if changed_D[place] > 0]
    return tuple(sorted(most)) or (0,)
