"""A trial of a model before it decides anything: a network with finite weights may still give scores that are not
numbers."""

from __future__ import annotations

import numpy as np

from anomaly_daemon.detection.detector import Detector, Status
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.errors import Incompatible

STREAMS, EVENTS = 4, 200
MINUTE = 60_000_000


def tried(detector: Detector) -> None:
    """Step a fresh detector over generated streams. Raises Incompatible if nothing is scored or a p-value is not
    finite.

    The detector's rules must allow it to score: every kind of evidence, and a grace period shorter than the trial.
    """
    scores = detector.step(_waves(len(detector.schema.numeric), len(detector.schema.categorical), EVENTS)).scores
    scored = scores.status_N == Status.SCORED
    if not scored.any() or not np.isfinite(scores.p_value_N[scored]).all():
        raise Incompatible("the model gives scores that are not numbers: a broken training; train again")


def warm(detector: Detector) -> None:
    """Step a fresh detector once. What is compiled at its first call is then compiled now, or read from the cache."""
    detector.step(_waves(len(detector.schema.numeric), len(detector.schema.categorical), 1))


def _waves(numeric: int, categorical: int, events: int) -> Observations:
    """Return generated streams: some steady, some with jumps."""
    event_N, stream_N = (part.ravel() for part in np.divmod(np.arange(STREAMS * events), STREAMS))
    values_N = np.sin(event_N / 7.0 + stream_N) + 20.0 * ((event_N % 50 == 49) & (stream_N % 2 == 1))
    count, time_N = len(event_N), (event_N + 1) * MINUTE
    return Observations(
        "trial",
        0,
        tuple(map(str, range(STREAMS))),
        stream_N.astype(np.int32),
        np.arange(count),
        np.zeros(count, np.int32),
        time_N,
        time_N,
        np.tile(values_N[:, None], (1, numeric)),
        np.zeros((count, numeric), np.uint8),
        np.zeros((count, categorical), np.int64),
        {},
    )
