"""An alert gives the values with which the leading evidence was compared."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from anomaly_daemon.detection.alert import Event, Kind, ModelRef, Phase
from anomaly_daemon.detection.episode import Reason, Turn
from anomaly_daemon.detection.expectation import Compared
from anomaly_daemon.detection.explain import Cause, Origin, alert, leading_field, pattern_cause
from anomaly_daemon.detection.observation import Float64, Numeric, Schema
from anomaly_daemon.detection.order import Trigger
from anomaly_daemon.detection.scorer import Scored
from anomaly_daemon.detection.signals import Signal

SCHEMA = Schema((Numeric("flow"), Numeric("heat")))


def scored(leading: Signal) -> Scored:
    """The scores of one row, in which heat has most of the share and is compared with an expected 5 (4 to 6)."""

    def row(flow: float, heat: float) -> Float64:
        return np.array([[flow, heat]])

    return Scored(
        standard_B2F=np.ones((1, 2, 2)),
        of=Compared(
            expected=row(1, 8),
            lower=row(0, 7),
            upper=row(2, 9),
            reference=row(1, 5),
            reference_lower=row(0, 4),
            reference_upper=row(2, 6),
            deviation=row(0, 3),
        ),
        evidence_BJ=np.ones((1, len(Signal))),
        p_B=np.array([1e-6]),
        sustained_B=np.array([1e-6]),
        method_B=np.array([1.0]),
        leading_B=np.array([int(leading)]),
        parts_B2F=np.array([[[1.0, 12.0], [1.0, 2.0]]]),
        score_B=np.array([2.0]),
        faster_B=np.array([9.0 if leading is Signal.BURST else np.nan]),
        typical_gap_B=np.array([90e6]),
    )


@pytest.mark.parametrize(
    ("leading", "reason"),
    [
        (Signal.POINT, "heat is 9, expected 5 (4 to 6)"),
        (Signal.WINDOW, "heat is 9, expected 5 (4 to 6), unusual over the last events"),
        (Signal.CHANGE, "heat is 9, expected 5 (4 to 6), changing more than usual"),
        (Signal.LEVEL, "heat is 9, usually 5 (4 to 6), a lasting shift"),
        (Signal.DRIFT, "heat is 9, usually 5 (4 to 6), a slow drift"),
        (Signal.SEASON, "heat is 9, at this time of day usually 5 (4 to 6)"),
        (Signal.QUIET, "heat is 9, expected 5 (4 to 6), moving less than usual"),
        (Signal.AUTOREGRESSION, "heat is 9, expected from its last values 5 (4 to 6), an unusual course"),
        (Signal.SHAPE, "heat is 9, in the nearest known shape 5 (4 to 6), an unusual shape"),
        (Signal.RELATION, "heat is 9, expected from the other fields 5 (4 to 6), out of step with them"),
        (Signal.JOINT, "heat is 9, expected from the other fields 5 (4 to 6), an unusual combination of fields"),
    ],
)
def test_the_reason_says_what_was_seen_and_against_what(leading: Signal, reason: str) -> None:
    cause = pattern_cause(SCHEMA, scored(leading), 0, np.array([1.0, 9.0]), [], 1e-4)
    assert (cause.reason + cause.aspect, cause.direction) == (reason, "up")
    assert [one.name for one in cause.features] == ["heat", "flow"]
    assert cause.features[0].prediction_share == pytest.approx(0.75)
    assert sum(one.prediction_share + one.reconstruction_share for one in cause.features) == pytest.approx(1.0)


@pytest.mark.parametrize("leading", [Signal.WINDOW, Signal.LEVEL])
def test_of_a_single_payment_no_reason_says_that_it_lasts(leading: Signal) -> None:
    cause = pattern_cause(SCHEMA, scored(leading), 0, np.array([1.0, 9.0]), [], 1e-4, alone=True)
    assert (cause.reason.startswith("heat is 9, "), cause.aspect) == (True, "")
    drift = pattern_cause(SCHEMA, scored(Signal.DRIFT), 0, np.array([1.0, 9.0]), [], 1e-4, alone=True)
    assert drift.aspect == ", a slow drift"  # its window is four events


@pytest.mark.parametrize(
    ("event", "why", "last", "reason"),
    [
        (Event.OPEN, None, 90, "heat is 9, expected 5 (4 to 6), unusual over the last events"),
        (Event.CLOSE, Reason.RECOVERED, 70, "back to normal"),
        (Event.CLOSE, Reason.RECOVERED, 90, "back to normal"),
        (Event.CLOSE, Reason.ACCEPTED, 70, "new level accepted"),
        (
            Event.CLOSE,
            Reason.ENDED,
            70,
            "the stream has ended; heat is 9, expected 5 (4 to 6), unusual over the last events",
        ),
        (
            Event.CLOSE,
            Reason.ACCEPTED,
            90,
            "new level accepted; heat is 9, expected 5 (4 to 6), unusual over the last events",
        ),
    ],
)
def test_what_a_close_says_of_its_event_is_still_true(event: Event, why: Reason | None, last: int, reason: str) -> None:
    """`last` is the time of the last alarm; the event's own time is 90. A stream that has ended remains silent, so its
    cause still holds."""
    cause = pattern_cause(SCHEMA, scored(Signal.WINDOW), 0, np.array([1.0, 9.0]), [], 1e-4)
    turn = Turn(0, Kind.PATTERN, event, why, 0, last, 90 if why else None, 1, 50.0, 50.0, 0, 0)
    origin = Origin("sensors", 0, ModelRef("test", "1", "digest"), "digest", {}, 1.0)
    assert alert(origin, turn, "pump", cause, Phase("calibrated", 9, 9), None, Trigger(0, 0, 0, 0)).reason == reason
    assert alert(origin, turn, "pump", Cause(""), Phase("calibrated", 9, 9), None, Trigger(0, 0, 0, 0)).reason == str(
        why or ""
    )


@pytest.mark.parametrize(("heat", "direction"), [(9.0, "up"), (1.0, "down"), (5.0, "none"), (np.nan, "none")])
def test_the_direction_is_that_of_the_leading_field_if_it_deviates(heat: float, direction: str) -> None:
    assert pattern_cause(SCHEMA, scored(Signal.WINDOW), 0, np.array([1.0, heat]), [], 1e-4).direction == direction


def test_of_events_that_come_too_fast_no_field_is_named() -> None:
    cause = pattern_cause(SCHEMA, scored(Signal.BURST), 0, np.array([1.0, 9.0]), [], 1e-4)
    assert (cause.reason, cause.aspect, cause.direction) == ("an event every 10 s; usually one every 90 s", "", "none")
    assert cause.features == ()
    assert (cause.score, cause.p_value, cause.p_method, cause.threshold) == (2.0, 1e-6, "tail", 1e-4)


def test_the_field_that_leads_is_the_one_that_an_alert_names_first() -> None:
    """A field that is under its floor does not lead, however large its share is."""
    parts_B2F = np.array([[[9.0, 1.0, 2.0], [0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0], [0.0, 3.0, 0.0]]])
    leading_B = np.array([Signal.POINT, Signal.POINT])
    free = SimpleNamespace(parts_B2F=parts_B2F, leading_B=leading_B, aside=None)
    small = SimpleNamespace(small_BD=np.array([[True, False], [False, False]]))
    floored = SimpleNamespace(parts_B2F=parts_B2F, leading_B=leading_B, aside=small)
    fast = SimpleNamespace(parts_B2F=parts_B2F, leading_B=np.array([Signal.BURST, Signal.POINT]), aside=None)
    assert leading_field(cast("Scored", free)).tolist() == [0, 1]
    assert leading_field(cast("Scored", floored)).tolist() == [2, 1]
    assert leading_field(cast("Scored", fast)).tolist() == [3, 1], "none of them"


@pytest.mark.parametrize(
    ("actual", "expected", "band", "told"),
    [
        (31.4, 20.12345, 1.0, "heat is 31.4, expected 20.12 (19.12 to 21.12)"),
        (52.524, 52.52, 0.00005, "heat is 52.524, expected 52.52 (52.52 to 52.5201)"),
        (1e6 + 100.0, 1e6, 2.0, "heat is 1.0001e+06, expected 1e+06 (1e+06 to 1e+06)"),
        (1e9 + 8.0, 1e9, 2.0, "heat is 1000000008, expected 1000000000 (999999998 to 1000000002)"),
        (0.0, 0.0, 0.0, "heat is 0, expected 0 (0 to 0)"),
    ],
)
def test_a_reason_has_as_many_digits_as_tell_its_numbers_apart(
    actual: float, expected: float, band: float, told: str
) -> None:
    reference = (np.array([[1.0, value]]) for value in (expected, expected - band, expected + band))
    plain = scored(Signal.POINT)
    of = plain.of._replace(**dict(zip(("reference", "reference_lower", "reference_upper"), reference, strict=True)))
    assert pattern_cause(SCHEMA, replace(plain, of=of), 0, np.array([1.0, actual]), [], 1e-4).reason == told
