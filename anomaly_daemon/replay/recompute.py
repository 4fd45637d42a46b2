"""Computes one stream's episode again, with the detection code of production.

The detector holds this stream only. The other records of its partition advance the watermark, so that timers fire at
the same record, and are otherwise skipped. The floors of a restore, which skip records that are already in the state,
are used for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from anomaly_daemon.checkpoint.evidence import Opening
from anomaly_daemon.daemon.intake import Observer
from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.detection.detector import Detector, Step
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Scores
from anomaly_daemon.detection.state import bucket_of

GROUPS = 1 << 16
"""Number of groups of keys by which streams are admitted. Another stream in the same group costs time, but changes
nothing (L5)."""
NEVER = 1 << 62
"""An offset above all others."""

Score = tuple[float, float, float, float]
"""Score, p-value, threshold and severity of one observation; NaN where not known."""


class Recomputation:
    """Takes the partition's observations from the opening on. `messages` collects the alerts of the episode."""

    def __init__(
        self,
        detector: Detector,
        key: str,
        alert_id: str,
        opening: Opening | None,
        clock: Mapping[int, Sequence[int]],
        observers: Sequence[Observer] = (),
    ) -> None:
        """Without an `opening` the stream starts as a new one. `clock`: by offset, the event times, in order, to which
        the clock advanced the timers after that record."""
        self._detector, self._key, self._alert_id = detector, key, alert_id
        self._clock, self._observers = dict(clock), observers
        self._first = (-1, -1)
        self.messages: list[Alert] = []
        self.scores: dict[int, Score] = {}
        """The scores of this stream by offset. Where a record packs several observations, those of the last one."""
        detector.floors = np.full(GROUPS, NEVER, np.int64)
        detector.floors[bucket_of(key, GROUPS)] = 0
        if opening is not None:
            self._begin(opening)

    def _begin(self, opening: Opening) -> None:
        detector = self._detector
        detector.restore(opening.state)
        detector.watermark = opening.watermark
        self._first = (opening.offset, opening.index)
        if opening.clock is not None:
            detector.watermark = min(opening.watermark, opening.clock - 1)
            self._first = (opening.offset + 1, 0)
            self._let_fall(opening.offset)

    def take(self, observations: Observations, after: int) -> None:
        """Take the next observations of the partition, in order, all below offset `after`. The clock may have fired
        timers after a record that holds no observation: one that cannot be read, or a transaction's marker."""
        offset_N, index_N = observations.offset_N, observations.index_N
        first, index = self._first
        left = observations.take(np.flatnonzero((offset_N > first) | ((offset_N == first) & (index_N >= index))))
        for offset in sorted(offset for offset in self._clock if offset < after):
            stop = int(np.searchsorted(left.offset_N, offset, side="right"))
            self._step(left.take(slice(0, stop)))
            left = left.take(slice(stop, None))
            self._let_fall(offset)
        self._step(left)

    def _step(self, observations: Observations) -> None:
        if len(observations):
            step = self._detector.step(observations)
            self._note(observations, step)

    def _let_fall(self, offset: int) -> None:
        """Fire the timers that the clock fired after this record. Their alerts name it, whatever it holds."""
        self._detector.last_offset = offset
        for time in self._clock.pop(offset, ()):
            self.messages += self._mine(self._detector.advance(time))

    def _note(self, observations: Observations, step: Step) -> None:
        self.messages += self._mine(step.alerts)
        if self._key in observations.keys:
            for at in np.flatnonzero(observations.stream_N == observations.keys.index(self._key)).tolist():
                self.scores[int(observations.offset_N[at])] = _score(step.scores, at)
        for observe in self._observers:
            observe(observations, step)

    def _mine(self, alerts: Sequence[Alert]) -> list[Alert]:
        return [alert for alert in alerts if alert.alert_id == self._alert_id]


def _score(scores: Scores, at: int) -> Score:
    columns = (scores.score_N, scores.p_value_N, scores.threshold_N, scores.severity_N)
    score, p_value, threshold, severity = (float(column[at]) for column in columns)
    return score, p_value, threshold, severity
