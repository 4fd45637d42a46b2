"""Events that come much faster than usual are found. A stream that keeps time, or whose events always come in bursts,
raises no alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
import pytest
from streams import START, detector, observations, schema

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection import burst
from anomaly_daemon.detection.observation import Float64, Numeric, Observations, Schema
from anomaly_daemon.detection.rules import DurationRule, EpisodeRule, Evidence, Rules, SilenceRule
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.detection.signals import Signal

HOUR = 3600.0
USUAL = 400
"""Number of a stream's usual events before it does anything else."""


def rules(*evidence: Evidence, floor: float = 0.5, late: bool = False) -> Rules:
    return Rules(
        evidence=evidence or (Evidence.BURST,),
        alarms_per_day=0.005,
        window_events=1,
        accept_late=late,
        episode=EpisodeRule(close_after=1, close_surprise=5.0, accept_seconds=30 * 86400.0, magnitude_floor=floor),
        silence=SilenceRule(enabled=False),
        stuck=DurationRule(enabled=False),
    )


def by_chance(events: int = USUAL, mean: float = 12 * HOUR, seed: int = 0) -> Float64:
    """Return the gaps, in seconds, of events that keep no time."""
    return np.random.default_rng(seed).exponential(mean, events)


def batch(gap_N: Sequence[float] | Float64, value_N: Float64 | None = None) -> Observations:
    """Return the events of one stream, with ordinary amounts unless given."""
    events = len(gap_N)
    values = 10.0 + np.random.default_rng(1).normal(size=events) if value_N is None else value_N
    made = observations(["card"] * events, [0] * events, values.reshape(events, -1).tolist())
    made.time_N[:] = START + (np.cumsum(gap_N) * 1e6).astype(np.int64)
    return made


def stepped(gap_N: Sequence[float] | Float64, by: Rules | None = None, of: Schema | None = None) -> Step:
    made = detector(of or schema(["amount"]), by or rules(), read_model("pretrained"))
    return made.step(batch(gap_N))


def opened(step: Step) -> list[int]:
    return [one.provenance.first_offset for one in step.alerts if one.event == "open"]


def evidence(step: Step) -> Float64:
    return step.scores.evidence_NJ[:, Signal.BURST]


def with_burst(gap: float = 90.0, events: int = 40, before: Float64 | None = None) -> Float64:
    return np.concatenate([by_chance() if before is None else before, np.full(events, gap)])


def test_forty_payments_in_an_hour_are_an_alert_by_the_seventh_and_it_says_how_fast() -> None:
    step = stepped(with_burst())
    (offset,) = [one for one in opened(step) if one >= USUAL]
    assert offset < USUAL + 7
    (alert,) = [one for one in step.alerts if one.event == "open" and one.provenance.first_offset == offset]
    assert alert.kind == "pattern"
    assert alert.features == ()
    assert alert.direction == "none"
    said, usual = alert.reason.split("; ")
    assert said.startswith("an event every ")
    assert usual.startswith("usually one every ")
    faster = float(usual.split()[-2]) / float(said.split()[-2])
    assert faster == pytest.approx(np.exp(evidence(step)[offset]), rel=1e-3)
    assert alert.score == pytest.approx(np.sqrt(log(faster)), rel=1e-3)


def test_it_is_how_many_times_smaller_the_roots_of_gaps_are_than_usual() -> None:
    gap_N = with_burst()
    root_N = np.sqrt(gap_N[1:])  # the first event has no gap
    usual, slow, rate = np.average(root_N[: USUAL - 1], weights=np.arange(1, USUAL)), 0.0, 2.0 / (burst.EVENTS + 1.0)
    for root in root_N[: USUAL + 9]:
        slow += rate * (root - slow)
    assert evidence(stepped(gap_N))[USUAL + 9] == pytest.approx(2.0 * log(usual / slow), abs=0.1)


def test_it_says_nothing_below_four_times_the_usual_pace() -> None:
    gap_N = np.concatenate([by_chance(), np.full(40, 5 * HOUR)])
    step = stepped(gap_N)
    assert evidence(step)[-1] < burst.LEAST
    assert (step.scores.p_value_N[USUAL + 20 :] > 0.05).all()
    assert not opened(stepped(np.concatenate([by_chance(), np.full(40, 4 * HOUR)])))[1:]
    assert evidence(stepped(with_burst(HOUR)))[-1] > burst.LEAST


def test_a_stream_that_keeps_time_says_nothing_by_it() -> None:
    jitter_N = 60.0 * np.random.default_rng(0).uniform(0.8, 1.2, USUAL)
    assert np.isnan(evidence(stepped(with_burst(1.0, before=jitter_N)))).all()


def test_nor_does_one_of_whose_events_most_come_together() -> None:
    gap_N = np.repeat(by_chance(200), 3) * (np.arange(600) % 3 == 0)
    assert np.isnan(evidence(stepped(gap_N))[100:]).all()
    in_pairs_N = np.repeat(by_chance(200), 3) * (np.arange(600) % 3 != 0)
    assert np.isfinite(evidence(stepped(in_pairs_N))[100:]).all()


def test_what_always_comes_in_bursts_makes_none_by_them() -> None:
    bursts_N = np.where(np.random.default_rng(0).random(3000) < 0.15, 1.0, 0.005) * by_chance(3000)
    assert len(opened(stepped(bursts_N))) <= 3


def test_after_a_long_rest_it_is_found_as_soon() -> None:
    """A gap counts as at most five usual gaps."""
    rested = np.concatenate([by_chance(), [100 * 24 * HOUR], np.full(40, 90.0)])
    (offset,) = [one for one in opened(stepped(rested)) if one >= USUAL]
    assert offset < USUAL + 11


def test_it_is_silent_until_what_is_usual_is_known() -> None:
    u_N = evidence(stepped(by_chance(100)))
    assert np.isnan(u_N[: burst.TRUSTED_AFTER + 1]).all()
    assert np.isfinite(u_N[burst.TRUSTED_AFTER + 1 :]).all()


def test_events_of_one_time_come_a_million_times_as_fast_at_most() -> None:
    gap_N = np.concatenate([by_chance(2000), np.zeros(200)])
    moved = batch(gap_N, np.arange(2200.0))  # otherwise they would be duplicates
    step = detector(schema(["amount"]), rules(), read_model("pretrained")).step(moved)
    assert evidence(step)[-1] == pytest.approx(2.0 * log(burst.FASTEST))


def test_late_records_that_are_judged_as_if_they_came_now_are_no_burst() -> None:
    """For example, a terminal that was offline for a week sends its stored records."""
    made = batch(with_burst(0.0), np.random.default_rng(2).normal(10.0, 1.0, USUAL + 40))
    made.time_N[USUAL:] -= np.arange(40, 0, -1) * 4 * int(HOUR * 1e6)
    step = detector(schema(["amount"]), rules(late=True), read_model("pretrained")).step(made)
    assert not [one for one in opened(step) if one >= USUAL]
    assert np.isnan(evidence(step)[USUAL:]).all()


def test_no_floor_of_a_field_hides_it() -> None:
    of = Schema((Numeric("amount", min_deviation=1000.0),))
    for step in (stepped(with_burst(), rules(floor=50.0)), stepped(with_burst(), of=of)):
        assert [one for one in opened(step) if one >= USUAL]


def test_of_payments_without_amounts_it_is_found_too() -> None:
    gap_N = with_burst()
    texts = [["shop"] for _ in gap_N]
    made = observations(["card"] * len(gap_N), [0] * len(gap_N), np.zeros((len(gap_N), 0)).tolist(), texts)
    made.time_N[:] = batch(gap_N).time_N
    step = detector(schema([], ["place"]), rules(), read_model("pretrained")).step(made)
    assert [one for one in opened(step) if one >= USUAL]


def test_a_pace_that_is_accepted_is_usual_soon() -> None:
    """For example, a card that has become its owner's only card."""
    before, busy = by_chance(3000), by_chance(400, 1 * HOUR, seed=1)
    accepting = replace(rules(), episode=replace(rules().episode, accept_seconds=100 * HOUR))
    step = stepped(np.concatenate([before, busy]), accepting)
    (closed,) = [one for one in step.alerts if one.event == "close" and one.provenance.first_offset >= 3000]
    assert "new level accepted" in closed.reason
    assert not [one for one in opened(step) if one > closed.provenance.first_offset]
    assert (evidence(step)[-100:] < burst.LEAST).all()
    assert (evidence(stepped(np.concatenate([before, busy])))[-100:] > burst.LEAST).any(), "where nobody accepts it"
