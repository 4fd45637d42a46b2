"""A value that moves less than usual is found, one that always rests is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations, schema
from test_signals import evidence, layout, loudest, noise, over

from anomaly_daemon.detection import quiet
from anomaly_daemon.detection.explain import SIGNAL_TEXTS
from anomaly_daemon.detection.observation import Direction, Float64, Numeric, Schema
from anomaly_daemon.detection.quiet import LEAST, TRUSTED_AFTER
from anomaly_daemon.detection.rules import DurationRule, EpisodeRule, Evidence, Rules
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.detection.signals import Signal


def only(magnitude_floor: float = 0.0, stuck: bool = False) -> Rules:
    """Nothing else can tell of it."""
    return Rules(
        evidence=(Evidence.QUIET,),
        alarms_per_day=5.0,
        episode=EpisodeRule(magnitude_floor=magnitude_floor),
        stuck=DurationRule(enabled=stuck),
    )


def stepped(x_N: Float64, rules: Rules, of: Schema | None = None) -> Step:
    made = detector(of or schema(["x"]), rules)
    return made.step(observations(["s"] * len(x_N), list(range(len(x_N))), x_N.reshape(len(x_N), -1).tolist()))


def frozen(events: int = 1500, since: int = 1400, moves: float = 0.0, seed: int = 0) -> Float64:
    """Noise of 1 that becomes one of so much."""
    x_N = 10.0 + np.random.default_rng(seed).normal(size=events)
    x_N[since:] = x_N[since] + moves * (x_N[since:] - x_N[since])
    return x_N


def told(step: Step, kind: str) -> list[int]:
    return [one.provenance.first_offset for one in step.alerts if one.event == "open" and one.kind == kind]


def test_a_value_that_freezes_and_still_hums_is_quiet() -> None:
    x_TD = noise()
    x_TD[-24:] = 10.0 + 0.05 * (x_TD[-24:] - 10.0)
    assert loudest(x_TD) is Signal.QUIET


def test_an_alert_says_so() -> None:
    (opened, *_) = [one for one in stepped(frozen(moves=0.02), only()).alerts if one.event == "open"]
    assert 1400 < opened.provenance.first_offset < 1440
    assert SIGNAL_TEXTS[Signal.QUIET] in opened.reason


def test_it_is_how_many_times_smaller_the_roots_of_steps_are_than_usual() -> None:
    x_N = frozen(moves=0.1)
    step = stepped(x_N, only())
    root_N = np.sqrt(np.abs(np.diff(x_N)))
    usual, slow, rate = root_N[:1390].mean(), 0.0, 2.0 / 13.0
    for root in root_N[1000:]:
        slow += rate * (root - slow)
    assert step.scores.evidence_NJ[-1, Signal.QUIET] == pytest.approx(2.0 * np.log(usual / slow), abs=0.15)
    assert step.scores.evidence_NJ[-1, Signal.QUIET] == pytest.approx(np.log(10.0), abs=0.5), "a tenth as large"


def test_at_rest_it_comes_to_an_end() -> None:
    u_N = stepped(frozen(1800), only()).scores.evidence_NJ[:, Signal.QUIET]
    assert u_N[-1] == pytest.approx(-2.0 * np.log(LEAST))


def test_what_moves_as_much_as_ever_or_more_is_not_quiet() -> None:
    x_N = frozen(moves=5.0)
    u_N = stepped(x_N, only()).scores.evidence_NJ[1450:, Signal.QUIET]
    assert not u_N.any()


def test_a_field_that_rests_at_most_events_says_nothing() -> None:
    x_N = np.repeat(np.random.default_rng(1).normal(size=500), 3)
    u_N = stepped(x_N, only()).scores.evidence_NJ[:, Signal.QUIET]
    assert np.isnan(u_N).all()
    assert np.isfinite(stepped(frozen(moves=1.0), only()).scores.evidence_NJ[-1, Signal.QUIET])


def test_it_is_silent_until_what_is_usual_is_known() -> None:
    u_N = stepped(frozen(300, 299), only()).scores.evidence_NJ[:, Signal.QUIET]
    assert np.isnan(u_N[: TRUSTED_AFTER + 1]).all()
    assert np.isfinite(u_N[TRUSTED_AFTER + 1 :]).all()


def test_a_field_with_one_side_is_never_quiet() -> None:
    of = Schema((Numeric("x", direction=Direction.ABOVE),))
    assert np.isnan(stepped(frozen(), only(), of).scores.evidence_NJ[:, Signal.QUIET]).all()


def test_of_several_fields_the_one_that_froze_is_named_and_a_switch_is_not() -> None:
    switch = (np.arange(1500) // 300 % 2).astype(float)
    x_ND = np.column_stack([switch, frozen(moves=1.0), frozen(moves=0.01, seed=1)])
    step = stepped(x_ND, only(), schema(["switch", "well", "frozen"]))
    (opened, *_) = [one for one in step.alerts if one.event == "open"]
    assert opened.features[0].name == "frozen"
    assert opened.features[0].prediction_share > 0.9


def test_a_value_that_does_not_move_at_all_is_told_of_once_as_stuck() -> None:
    both = stepped(frozen(), only(stuck=True))
    assert told(both, "stuck")
    assert not told(both, "pattern")
    assert told(stepped(frozen(), only()), "pattern"), "with nobody else to tell it does"
    hums = stepped(frozen(moves=0.01), only(stuck=True))
    assert told(hums, "pattern")
    assert not told(hums, "stuck")


@pytest.mark.parametrize(("moves", "alarms"), [(0.1, True), (0.75, False)])
def test_the_magnitude_floor_asks_how_many_times_less_it_moves(moves: float, alarms: bool) -> None:
    x_N = frozen(4000, 2000, moves=moves)
    assert bool(told(stepped(x_N, only(magnitude_floor=2.0)), "pattern")) is alarms


@pytest.mark.parametrize(("floor", "alarms"), [(0.5, True), (5.0, False)])
def test_a_floor_asks_how_much_less_it_moves_in_its_own_units(floor: float, alarms: bool) -> None:
    of = Schema((Numeric("x", min_deviation=floor),))
    assert bool(told(stepped(frozen(), only(), of), "pattern")) is alarms


def test_steps_before_a_value_of_another_kind_are_forgotten() -> None:
    """As levels are (decision 66): a step of 1e29 would be the usual one for years."""
    x_N = frozen(moves=0.02)
    strange_N = np.concatenate([x_N[:5], [9e29], x_N[5:]])
    (plain, strange) = (stepped(one, only()).scores.evidence_NJ[-1, Signal.QUIET] for one in (x_N, strange_N))
    assert strange == pytest.approx(plain, abs=0.2)


def test_what_is_missing_is_no_rest() -> None:
    x_TD = noise()
    x_TD[-30:] = np.nan
    u_TJ = evidence(over(layout(1).blank(1), x_TD))
    assert not (u_TJ[-30:, Signal.QUIET] > 1.0).any()


def test_relations_ask_the_same_of_rests() -> None:
    assert quiet.RESTS == 0.5
