"""Counts over a run: events by status, and the time spans over which each stream was observed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.rules import DAY_SECONDS
from anomaly_daemon.detection.scores import Status, Step


class Tally:
    """An observer of the worker that counts. Memory grows with the streams of each recording, not with events.

    Each partition is a recording of its own: nothing is known of the time between two recordings of a stream.
    """

    def __init__(self) -> None:
        self._status: Counter[int] = Counter()
        self._spans: dict[str, dict[tuple[str, int], tuple[int, int]]] = {}
        """The first and the last event time of each stream, by recording."""
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
            own, recording = self._spans.setdefault(key, {}), (observations.topic, observations.partition)
            old = own.get(recording, (start, end))
            own[recording] = (min(old[0], start), max(old[1], end))

    @property
    def events(self) -> int:
        """Observations seen, scored or not."""
        return self._status.total()

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream key, in order of first appearance."""
        return tuple(self._spans)

    @property
    def spans(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """The first and the last event time of each stream in each recording of it, epoch microseconds."""
        return {key: tuple(own.values()) for key, own in self._spans.items()}

    @property
    def by_status(self) -> dict[str, int]:
        """Observations by status: scored, warming, missing, late, duplicate, muted."""
        return {status.name.lower(): self._status[status] for status in Status}

    @property
    def stream_days(self) -> float:
        """Days of event time from each stream's first to its last event of a recording, summed over all of them."""
        return sum(end - start for own in self.spans.values() for start, end in own) / (DAY_SECONDS * 1_000_000)

    @property
    def recordings(self) -> tuple[tuple[int, int], ...]:
        """The earliest and the latest event time of each recording, epoch microseconds."""
        return tuple(self._recordings().values())

    @property
    def recordings_of(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """As `recordings`, of those that each stream occurs in."""
        found = self._recordings()
        return {key: tuple(map(found.__getitem__, own)) for key, own in self._spans.items()}

    def _recordings(self) -> dict[tuple[str, int], tuple[int, int]]:
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for own in self._spans.values():
            for recording, (start, end) in own.items():
                old = found.get(recording, (start, end))
                found[recording] = (min(old[0], start), max(old[1], end))
        return found

    @property
    def span(self) -> tuple[int, int] | None:
        """The earliest and the latest event time of all, epoch microseconds; None before the first event."""
        recordings = self.recordings
        return (min(start for start, _ in recordings), max(end for _, end in recordings)) if recordings else None
