"""What comes of a batch: columns of scores, and alerts.

Shapes: N observations, F features, J kinds of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.detection.observation import Float64, UInt8
from anomaly_daemon.detection.signals import Signal


class Status(IntEnum):
    """What became of an observation (law L4: not known is a value)."""

    SCORED = 0
    WARMING = 1
    """Scored against the shared calibration once its normaliser knows it, but not yet allowed to alarm."""
    MISSING = 2
    """No feature has a value."""
    LATE = 3
    """Older than its stream's newest: left out."""
    DUPLICATE = 4
    """The same time and values as the event before it: left out."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Columns over the observations of a step, in record order; NaN where nothing is known."""

    status_N: UInt8
    score_N: Float64
    p_value_N: Float64
    threshold_N: Float64
    severity_N: Float64
    prediction_NF: Float64
    reconstruction_NF: Float64
    expected_NF: Float64
    lower_NF: Float64
    upper_NF: Float64
    evidence_NJ: Float64
    """What calibration is fitted on."""

    @classmethod
    def blank(cls, events: int, features: int) -> Scores:
        """Nothing known of any event."""
        status_N = np.full(events, Status.MISSING, np.uint8)
        a, b, c, d = (np.full(events, np.nan) for _ in range(4))
        e, f, g, h, i = (np.full((events, features), np.nan) for _ in range(5))
        return cls(status_N, a, b, c, d, e, f, g, h, i, np.full((events, len(Signal)), np.nan))

    def part(self, rows: slice) -> Scores:
        """Some of them, as views: writing to one writes here."""
        return Scores(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a batch. Alerts stand in the order of the records that triggered them."""

    scores: Scores
    alerts: list[Alert]
