"""An event at which a field has no value does not show whether the field's stuck value, or its new scale, is over."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations

from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.observation import Float64, Numeric, Schema, Transform
from anomaly_daemon.detection.rules import EpisodeRule, Rules

NAN = float("nan")
EVENTS, FROM, UNTIL = 400, 200, 300


def values(shape: str) -> Float64:
    """Return values of two fields: all present, some of y's missing, or one record for each metric in turn."""
    values_ND = np.random.default_rng(0).normal(10.0, 1.0, (EVENTS, 2))
    n = np.arange(EVENTS)
    if shape == "some missing":
        values_ND[(n > FROM + 20) & (n % 4 == 0), 1] = NAN
    if shape == "long":
        values_ND[n % 2 == 0, 1] = values_ND[n % 2 == 1, 0] = NAN
    return values_ND


def told(values_ND: Float64, kind: Kind, rules: Rules | None = None) -> list[Alert]:
    """Return the alerts of this kind that open or close."""
    batch = observations(["s"] * EVENTS, list(range(EVENTS)), values_ND.tolist())
    alerts = detector(rules=rules).step(batch).alerts
    return [one for one in alerts if one.kind is kind and one.event is not Event.UPDATE]


@pytest.mark.parametrize("shape", ["all there", "some missing", "long"])
def test_a_stuck_field_is_one_episode(shape: str) -> None:
    values_ND = values(shape)
    values_ND[FROM:UNTIL, 1] = np.where(np.isnan(values_ND[FROM:UNTIL, 1]), NAN, 9.5)
    opened, closed = told(values_ND, Kind.STUCK)
    assert (opened.event, closed.event) == (Event.OPEN, Event.CLOSE)
    assert [one.name for one in opened.features] == ["y"]
    assert closed.provenance.last_offset in (UNTIL, UNTIL + 1)
    assert (closed.reason, closed.features) == ("back to normal", ())


@pytest.mark.parametrize("shape", ["all there", "some missing", "long"])
def test_a_field_of_another_scale_is_one_episode(shape: str) -> None:
    values_ND = values(shape)
    values_ND[FROM:UNTIL, 1] *= 1000.0
    opened, closed = told(values_ND, Kind.SCHEMA)
    assert (opened.event, closed.event) == (Event.OPEN, Event.CLOSE)
    assert "y is about" in opened.reason
    assert UNTIL <= closed.provenance.last_offset <= UNTIL + 4
    assert (closed.reason, closed.features) == ("back to normal", ())


def test_a_stuck_field_that_vanishes_is_told_of_as_that_and_accepted_in_time() -> None:
    values_ND = values("all there")
    values_ND[FROM:, 1] = 9.5
    values_ND[FROM + 50 :, 1] = NAN
    hour = Rules(episode=EpisodeRule(accept_seconds=3600.0))
    opened, closed = told(values_ND, Kind.STUCK, hour)
    assert closed.reason.startswith("new level accepted")
    assert closed.provenance.last_offset == opened.provenance.last_offset + 61
    assert "y is missing" in told(values_ND, Kind.SCHEMA)[0].reason


def test_the_value_0_is_of_no_scale_and_says_nothing_about_a_field_of_another() -> None:
    values_ND = values("all there")
    values_ND[FROM : FROM + 40, 1] *= 1000.0
    values_ND[FROM + 40 : UNTIL, 1] = 0.0
    opened, closed = told(values_ND, Kind.SCHEMA)
    assert opened.provenance.last_offset == FROM + 19
    assert (closed.provenance.last_offset, closed.episode.count) == (UNTIL, 21)


def test_a_counter_that_is_reset_says_nothing_about_its_scale() -> None:
    rates = values("all there")[:, :1]
    rates[FROM:UNTIL] *= 1000.0
    counted = np.cumsum(rates, axis=0)
    counted[FROM + 50 :] -= counted[FROM + 50] - 1.0  # reset: the rate at this event is not known
    batch = observations(["s"] * EVENTS, list(range(EVENTS)), counted.tolist())
    of = Schema((Numeric("x", Transform.RATE),))
    alerts = [one for one in detector(of).step(batch).alerts if one.kind is Kind.SCHEMA]
    assert alerts[-1].event is Event.CLOSE
    assert alerts[-1].episode.count == UNTIL - FROM - 20
