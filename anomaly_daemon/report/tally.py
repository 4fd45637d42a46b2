"""Counts over a run: events by status, and the time span over which each stream was observed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.rules import DAY_SECONDS
from anomaly_daemon.detection.scores import Status, Step


class Tally:
    """An observer of the worker that counts. Memory grows with the number of streams, not of events."""

    def __init__(self) -> None:
        self._status: Counter[int] = Counter()
        self._span: dict[str, tuple[int, int]] = {}
        self.crowded_out = 0
        """How often a stream was evicted to make room for another."""

    def __call__(self, observations: Observations, step: Step) -> None:
        self.crowded_out += step.crowded_out
        self._status.update(step.scores.status_N.tolist())
        count = len(observations.keys)
        first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
        np.minimum.at(first, observations.stream_N, observations.time_N)
        np.maximum.at(last, observations.stream_N, observations.time_N)
        for key, start, end in zip(observations.keys, first.tolist(), last.tolist(), strict=True):
            old = self._span.get(key, (start, end))
            self._span[key] = (min(old[0], start), max(old[1], end))

    @property
    def events(self) -> int:
        """Observations seen, scored or not."""
        return self._status.total()

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream key, in order of first appearance."""
        return tuple(self._span)

    @property
    def spans(self) -> dict[str, tuple[int, int]]:
        """The first and the last event time of each stream, epoch microseconds."""
        return dict(self._span)

    @property
    def by_status(self) -> dict[str, int]:
        """Observations by status: scored, warming, missing, late, duplicate, muted."""
        return {status.name.lower(): self._status[status] for status in Status}

    @property
    def stream_days(self) -> float:
        """Days of event time from each stream's first to its last event, summed over the streams."""
        return sum(end - start for start, end in self._span.values()) / (DAY_SECONDS * 1_000_000)

    @property
    def span(self) -> tuple[int, int]:
        """The earliest and the latest event time, epoch microseconds; (0, 0) before the first event."""
        spans = self._span.values()
        return min((start for start, _ in spans), default=0), max((end for _, end in spans), default=0)
