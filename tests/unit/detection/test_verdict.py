"""The verdict on a row by its p-value, its values and how many events it has had."""

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
        np.array([[count, 0.0, 0.0]]),
        verdict.At(0, 1, 2),
        np.array([p]),
        np.array([p]),
        np.array([1e-3]),
        one,
        np.ones((1, 2, 1)),
        np.array([NAN]),
        one * value,
        np.empty((1, 0), np.int64),
        verdict.Limits(20.0, 0.5, 10.0, 1.0),
        found,
    )
    assert (alarms, found.status[0]) == (0, status)


@pytest.mark.parametrize(
    ("p", "event_p", "deviation", "faster", "alarm", "withheld"),
    [
        (1e-4, 1e-4, 1.0, NAN, True, False),
        (1e-4, 1e-4, 0.1, NAN, False, True),
        (1e-4, 1e-4, 0.1, 9.0, True, False),
        (0.5, 1e-4, 1.0, NAN, False, True),
        (0.5, 0.5, 0.1, 9.0, False, False),
        (NAN, NAN, 0.1, NAN, False, False),
    ],
)
def test_what_is_as_improbable_as_an_alarm_and_too_small_is_withheld(
    p: float, event_p: float, deviation: float, faster: float, alarm: bool, withheld: bool
) -> None:
    """The deviation is too small for the floor of the whole stream, or for the field's own floor, which raises `p`. A
    burst has a floor of its own."""
    found, row_BQ, one = verdict.Verdict.blank(1), np.array([[50.0, 0.0, 1.0]]), np.ones((1, 1))
    verdict.judge(
        row_BQ,
        verdict.At(0, 1, 2),
        np.array([p]),
        np.array([event_p]),
        np.array([1e-3]),
        one * deviation,
        np.zeros((1, 2, 1)),
        np.array([faster]),
        one,
        np.empty((1, 0), np.int64),
        verdict.Limits(20.0, 0.5, 10.0, 1.0),
        found,
    )
    assert (bool(found.alarm[0]), bool(row_BQ[0, 2])) == (alarm, withheld)
