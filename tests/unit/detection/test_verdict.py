"""What a row is said to be by its p-value, its values and how warm it is."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection import verdict
from anomaly_daemon.detection.scores import Status

NAN = float("nan")


@pytest.mark.parametrize(
    ("count", "p", "value", "status"),
    [
        (50.0, 0.5, 1.0, Status.SCORED),
        (50.0, NAN, 1.0, Status.WARMING),
        (5.0, 0.5, 1.0, Status.WARMING),
        (50.0, NAN, NAN, Status.MISSING),
        (50.0, 0.5, NAN, Status.MISSING),
    ],
)
def test_a_row_is_scored_only_where_there_is_a_p_value(count: float, p: float, value: float, status: Status) -> None:
    found, one = verdict.Verdict.blank(1), np.ones((1, 1))
    alarms = verdict.judge(
        np.array([[count, 0.0]]),
        verdict.At(0, 1),
        np.array([p]),
        np.array([1e-3]),
        one,
        np.ones((1, 2, 1)),
        one * value,
        np.empty((1, 0), np.int64),
        verdict.Limits(20.0, 0.5, 10.0, 1.0),
        found,
    )
    assert (alarms, found.status[0]) == (0, status)
