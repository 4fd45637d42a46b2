"""Observations, steps and alerts small enough to read, for the tests of the report and the demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anomaly_daemon.detection.alert import (
    Alert,
    Budget,
    Episode,
    Event,
    Feature,
    Kind,
    ModelRef,
    Phase,
    Provenance,
    Stream,
    Times,
)
from anomaly_daemon.detection.observation import Numeric, Observations, Schema
from anomaly_daemon.detection.scores import Scores, Status, Step
from anomaly_daemon.report.episodes import Seen, iso

HOUR = 3_600_000_000
START = 1_740_960_000_000_000
"""2025-03-03T00:00:00Z, a Monday."""

SCHEMA = Schema((Numeric("temperature"), Numeric("pressure")), ("mode",))
MODEL = ModelRef("pretrained", "1", "abc123")


def observations(keys: Sequence[str], minutes: Sequence[float], first_offset: int = 0) -> Observations:
    """One observation of each stream named in `keys`, at these minutes after START; the values count up."""
    names = tuple(dict.fromkeys(keys))
    count = len(keys)
    return Observations(
        topic="machines",
        partition=3,
        keys=names,
        stream_N=np.array([names.index(key) for key in keys], np.int32),
        offset_N=np.arange(first_offset, first_offset + count),
        index_N=np.zeros(count, np.int32),
        time_N=(START + np.array(minutes) * 60_000_000).astype(np.int64),
        append_N=np.full(count, -1),
        values_ND=np.stack([np.arange(count, dtype=float), np.full(count, 5.0)], axis=1),
        presence_ND=np.zeros((count, 2), np.uint8),
        categories_NC=np.zeros((count, 1), np.int64),
        category_names={},
    )


def step(p_values: Sequence[float | None], alerts: Sequence[Alert] = (), status: Status = Status.WARMING) -> Step:
    """Scores with these p-values; None is an event that was not scored, for the reason `status`."""
    scores = Scores.blank(len(p_values), 3)
    scores.status_N[:] = status
    for row, p_value in enumerate(p_values):
        if p_value is not None:
            scores.status_N[row] = Status.SCORED
            scores.score_N[row], scores.p_value_N[row], scores.threshold_N[row] = 1.5, p_value, 1e-4
            scores.prediction_NF[row], scores.reconstruction_NF[row] = (1, 2, 3), (4, 5, 6)
            scores.expected_NF[row], scores.lower_NF[row], scores.upper_NF[row] = row, row - 1, row + 1
    return Step(scores, list(alerts))


def alert(event: Event = Event.OPEN, stream: str = "press-1", hour: float = 0, kind: Kind = Kind.PATTERN) -> Alert:
    """An alert of one episode that opened at `hour`, two hours after its first anomalous event at hour - 2."""
    opened = int(START + hour * HOUR)
    end = iso(opened + HOUR) if event is Event.CLOSE else None
    return Alert(
        schema_version=1,
        alert_id=f"{stream}/{hour}",
        event=event,
        kind=kind,
        reason="temperature <above> its band",
        stream=Stream(stream, {}),
        episode=Episode(iso(opened - 2 * HOUR), iso(opened), end, 4, 80.0),
        severity=60.0,
        score=7.0,
        p_value=1e-6,
        p_method="tail",
        threshold=1e-4,
        budget=Budget(1.0, None),
        direction="up",
        features=(
            Feature("pressure", 5.0, 5.1, 4.8, 5.4, 0.1, 0.1, False),
            Feature("temperature", 81.25, 63.1, 58.0, 68.2, 0.5, 0.3, False),
        ),
        phase=Phase("calibrated", 500, 50),
        model=MODEL,
        config_digest="c0ffee",
        provenance=Provenance("machines", 3, 10, 14),
        times=Times(iso(opened), None),
    )


def seen(stream: str, hour: float, kind: str = "pattern", hours: float | None = 1) -> Seen:
    """An episode that opened at `hour` and lasted `hours`; None: it is still open."""
    opened = int(START + hour * HOUR)
    blank = Seen(f"{stream}/{hour}", stream, kind, opened, opened, None, 60.0, 3, "out of band", None, opened)
    return blank if hours is None else replace(blank, end=opened + int(hours * HOUR))
