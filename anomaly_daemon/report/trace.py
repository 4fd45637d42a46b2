"""The course of a stream and what was expected of it, kept small enough to draw. Memory is bounded (law L11).

Shapes: P points kept of a stream, F numeric features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Status, Step

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

POINTS = 1500
"""Fewest points of a stream that are drawn, once it has that many: about two a pixel. At most three times as many are
held."""

STREAMS = 200
"""Number of streams traced at once. At its full 4,500 points and with four features, one takes about 0.7 MB."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Points of one stream in record order. What is not known is NaN."""

    time_P: Int64
    actual_PF: Float64
    expected_PF: Float64
    lower_PF: Float64
    upper_PF: Float64
    surprise_P: Float64
    """The surprise: −log10 of the p-value, or how many decimal places the p-value is below 1."""
    alarm_P: Float64
    """The surprise at which an alarm is raised; NaN while no alarm may be raised."""

    def __len__(self) -> int:
        return len(self.time_P)

    def at(self, rows: Int64 | slice) -> Trace:
        return Trace(*(getattr(self, name)[rows] for name in _COLUMNS))

    def between(self, start: int, end: int) -> Trace:
        """Return the points from `start` to `end`, epoch microseconds, both included."""
        return self.at(np.flatnonzero((self.time_P >= start) & (self.time_P <= end)))

    def in_time(self) -> Trace:
        """Return the points in the order of their times, which is another one where late records are accepted."""
        return self.at(np.argsort(self.time_P, kind="stable"))

    def thinned(self) -> Trace:
        """Return half the points: of every two neighbours the more surprising one, so that no peak is lost."""
        even = len(self) // 2 * 2
        surprise_P2 = np.nan_to_num(self.surprise_P[:even], nan=-1.0).reshape(-1, 2)
        rows = np.arange(0, even, 2) + surprise_P2.argmax(axis=1)
        return self.at(np.append(rows, np.arange(even, len(self))))


_COLUMNS = tuple(Trace.__dataclass_fields__)


def joined(parts: Iterable[Trace]) -> Trace:
    """Return the traces as one, one after the other."""
    parts = list(parts)
    return Trace(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))


def points(observations: Observations, step: Step) -> Trace:
    """Return the trace of a whole batch, with all its streams mixed."""
    scores, numeric = step.scores, observations.values_ND.shape[1]
    actual_PF = observations.values_ND.copy()
    actual_PF[:, step.counters] = scores.rate_NC
    with np.errstate(divide="ignore"):
        surprise_P = -np.log10(scores.p_value_N)
        alarm_P = np.where(scores.status_N == Status.SCORED, -np.log10(scores.threshold_N), np.nan)
    return Trace(
        time_P=observations.time_N,
        actual_PF=actual_PF,
        expected_PF=scores.expected_NF[:, :numeric],
        lower_PF=scores.lower_NF[:, :numeric],
        upper_PF=scores.upper_NF[:, :numeric],
        surprise_P=surprise_P,
        alarm_P=alarm_P,
    )


class Growing:
    """A trace that grows without end in bounded memory. Every kept point stands for `2 ** halvings` events.

    New points are collected until there are `points` of them, and are then thinned as often as the older ones were, so
    that the whole run is drawn at the same resolution.
    """

    def __init__(self, points: int) -> None:
        self._points, self._halvings = points, 0
        self._kept: Trace | None = None
        self._waiting: list[Trace] = []

    def add(self, more: Trace) -> None:
        self._waiting.append(more)
        if sum(map(len, self._waiting)) >= self._points:
            self._kept, self._waiting = self.trace(), []
            while len(self._kept) > 2 * self._points:
                self._kept, self._halvings = self._kept.thinned(), self._halvings + 1

    def trace(self) -> Trace:
        """Return the trace of all points so far."""
        parts = [] if self._kept is None else [self._kept]
        if self._waiting:
            waiting = joined(self._waiting)
            for _ in range(self._halvings):
                waiting = waiting.thinned()
            parts.append(waiting)
        return joined(parts)


class Tracer:
    """An observer of the worker that keeps a `Trace` of each stream.

    Streams in `wanted` are always traced. Others are traced as they are first seen while there are fewer than `limit`
    traces. After that, a stream that raises an alarm replaces one that has raised none.
    """

    def __init__(self, wanted: Iterable[str] = (), limit: int = STREAMS, points: int = POINTS) -> None:
        self._wanted = frozenset(wanted)
        self._limit, self._points = limit, points
        self._growing: dict[str, Growing] = {}
        self._alarmed: set[str] = set()
        self._calm: dict[str, None] = {}
        """The traced streams that may be replaced, in the order in which they were first seen."""

    def traces(self) -> Mapping[str, Trace]:
        """Return the trace of every traced stream, by its key."""
        return {key: growing.trace() for key, growing in self._growing.items()}

    def __call__(self, observations: Observations, step: Step) -> None:
        for alert in step.alerts:
            self._alarmed.add(alert.stream.key)
            self._calm.pop(alert.stream.key, None)
        batch = points(observations, step)
        order = np.argsort(observations.stream_N, kind="stable")
        bounds = np.searchsorted(observations.stream_N[order], np.arange(len(observations.keys) + 1))
        for row, key in enumerate(observations.keys):
            if self._has_place(key):
                if key not in self._growing:
                    self._begin(key)
                self._growing[key].add(batch.at(order[bounds[row] : bounds[row + 1]]))

    def _begin(self, key: str) -> None:
        self._growing[key] = Growing(self._points)
        if key not in self._wanted and key not in self._alarmed:
            self._calm[key] = None

    def _has_place(self, key: str) -> bool:
        if key in self._growing or key in self._wanted or len(self._growing) < self._limit:
            return True
        if key not in self._alarmed or not self._calm:
            return False
        calm = next(iter(self._calm))
        del self._calm[calm], self._growing[calm]
        return True
