"""An alert tells what the evidence that led it was held against."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.expectation import Held
from anomaly_daemon.detection.explain import pattern_cause
from anomaly_daemon.detection.observation import Float64, Numeric, Schema
from anomaly_daemon.detection.scorer import Scored
from anomaly_daemon.detection.signals import Signal

SCHEMA = Schema((Numeric("flow"), Numeric("heat")))


def scored(leading: Signal) -> Scored:
    """Of one row; heat has most of the share, and is held against 5 (4 to 6)."""

    def row(flow: float, heat: float) -> Float64:
        return np.array([[flow, heat]])

    return Scored(
        standard_B2F=np.ones((1, 2, 2)),
        of=Held(
            expected=row(1, 8),
            lower=row(0, 7),
            upper=row(2, 9),
            held=row(1, 5),
            held_lower=row(0, 4),
            held_upper=row(2, 6),
            deviation=row(0, 3),
        ),
        evidence_BJ=np.ones((1, len(Signal))),
        p_B=np.array([1e-6]),
        sustained_B=np.array([1e-6]),
        method_B=np.array([1.0]),
        leading_B=np.array([int(leading)]),
        parts_B2F=np.array([[[1.0, 12.0], [1.0, 2.0]]]),
        score_B=np.array([2.0]),
    )


@pytest.mark.parametrize(
    ("leading", "reason"),
    [
        (Signal.POINT, "heat is 9, expected 5 (4 to 6)"),
        (Signal.WINDOW, "heat is 9, expected 5 (4 to 6), unusual over the last events"),
        (Signal.CHANGE, "heat is 9, expected 5 (4 to 6), changing as it seldom does"),
        (Signal.LEVEL, "heat is 9, usually 5 (4 to 6), a lasting shift"),
        (Signal.DRIFT, "heat is 9, usually 5 (4 to 6), a slow drift"),
        (Signal.SEASON, "heat is 9, at this time of day usually 5 (4 to 6)"),
    ],
)
def test_the_reason_says_what_was_seen_and_against_what(leading: Signal, reason: str) -> None:
    cause = pattern_cause(SCHEMA, scored(leading), 0, np.array([1.0, 9.0]), [], 1e-4)
    assert (cause.reason, cause.direction) == (reason, "up")
    assert [one.name for one in cause.features] == ["heat", "flow"]
    assert cause.features[0].prediction_share == pytest.approx(0.75)
    assert sum(one.prediction_share + one.reconstruction_share for one in cause.features) == pytest.approx(1.0)
