"""The result of a batch: columns of scores, and alerts.

Shapes: N observations, F features, J kinds of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.detection.observation import Float64, Int64, UInt8
from anomaly_daemon.detection.signals import Signal


class Status(IntEnum):
    """The outcome of an observation (law L4: not known is a value)."""

    SCORED = 0
    WARMING = 1
    """Scored against the shared calibration once its normaliser is known, but not yet allowed to alarm."""
    MISSING = 2
    """No feature has a value."""
    LATE = 3
    """Older than its stream's newest: skipped."""
    DUPLICATE = 4
    """The same time and values as the event before it: skipped."""
    MUTED = 5
    """In a mute window that teaches nothing: skipped, except as a sign that the stream is alive."""


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
    """The evidence that calibration is fitted on."""
    rate_NC: Float64
    """The rates of counters, which were judged in place of their values."""

    @classmethod
    def blank(cls, events: int, features: int, counters: int = 0) -> Scores:
        """Return columns in which nothing is known of any event."""
        status_N = np.full(events, Status.MISSING, np.uint8)
        a, b, c, d = (np.full(events, np.nan) for _ in range(4))
        e, f, g, h, i = (np.full((events, features), np.nan) for _ in range(5))
        evidence_NJ, rate_NC = (np.full((events, width), np.nan) for width in (len(Signal), counters))
        return cls(status_N, a, b, c, d, e, f, g, h, i, evidence_NJ, rate_NC)

    def note(self, at_B: Int64, report: Reported) -> None:
        """Write the results of the observations at `at_B` into the columns."""
        _note(at_B, report, Columns(*(getattr(self, column) for column in Columns._fields)))

    def part(self, rows: slice) -> Scores:
        """Return the columns of some observations, as views: writing to them writes here."""
        return Scores(*(getattr(self, column)[rows] for column in Scores.__dataclass_fields__))


class Reported(NamedTuple):
    """The results of B of the observations."""

    status_B: UInt8
    score_B: Float64
    p_value_B: Float64
    threshold_B: Float64
    severity_B: Float64
    errors_B2F: Float64
    """Standardised errors of both heads."""
    expected_BD: Float64
    """The expected values of the D numeric features; the next two are the bounds of the interval around them."""
    lower_BD: Float64
    upper_BD: Float64
    evidence_BJ: Float64


class Columns(NamedTuple):
    """The columns of `Scores` that `note` writes."""

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


@compiled
def _note(at_B: Int64, report: Reported, into: Columns) -> None:
    for b in range(len(at_B)):
        n = at_B[b]
        into.status_N[n], into.score_N[n], into.p_value_N[n] = (
            report.status_B[b],
            report.score_B[b],
            report.p_value_B[b],
        )
        into.threshold_N[n], into.severity_N[n] = report.threshold_B[b], report.severity_B[b]
        for f in range(report.errors_B2F.shape[2]):
            into.prediction_NF[n, f], into.reconstruction_NF[n, f] = (
                report.errors_B2F[b, 0, f],
                report.errors_B2F[b, 1, f],
            )
        for d in range(report.expected_BD.shape[1]):
            into.expected_NF[n, d] = report.expected_BD[b, d]
            into.lower_NF[n, d], into.upper_NF[n, d] = report.lower_BD[b, d], report.upper_BD[b, d]
        for j in range(report.evidence_BJ.shape[1]):
            into.evidence_NJ[n, j] = report.evidence_BJ[b, j]


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a batch. Alerts are in the order of the records that triggered them."""

    scores: Scores
    alerts: list[Alert]
    counters: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    """The places of the features that are counters."""
    crowded_out: int = 0
    """Streams that were forgotten to make room for others, because `max_streams` was reached."""
