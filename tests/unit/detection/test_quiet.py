"""A value that moves less than usual is found; a value that always rests raises no alarm."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations, schema
from test_signals import evidence, layout, loudest, noise, over

from anomaly_daemon.detection.explain import SIGNAL_TEXTS
from anomaly_daemon.detection.judging import COUNTED_FOR
from anomaly_daemon.detection.observation import Direction, Float64, Numeric, Schema
from anomaly_daemon.detection.quiet import LEAST, TRUSTED_AFTER
from anomaly_daemon.detection.rules import DurationRule, EpisodeRule, Evidence, Rules
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.detection.signals import Signal


def only(magnitude_floor: float = 0.0, stuck: bool = False) -> Rules:
    """Return rules under which no other kind of evidence can report it."""
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
    """Return noise with a standard deviation of 1, which becomes `moves` from the event `since` on."""
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
    usual, slow, rate = np.average(root_N, weights=np.arange(len(root_N))), 0.0, 2.0 / 13.0
    for root in root_N[1000:]:
        slow += rate * (root - slow)
    assert step.scores.evidence_NJ[-1, Signal.QUIET] == pytest.approx(2.0 * np.log(usual / slow), abs=0.05)
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
    scores = [stepped(frozen(), only(stuck=stuck)).scores.p_value_N[1420] for stuck in (True, False)]
    assert max(scores) < 1e-3, "a score says so all the same"
    hums = stepped(frozen(moves=0.01), only(stuck=True))
    assert told(hums, "pattern")
    assert not told(hums, "stuck")


@pytest.mark.parametrize(("moves", "alarms"), [(0.1, True), (0.75, False)])
def test_the_magnitude_floor_asks_how_many_times_less_it_moves(moves: float, alarms: bool) -> None:
    x_N = frozen(4000, 2000, moves=moves)
    assert bool(told(stepped(x_N, only(magnitude_floor=2.0)), "pattern")) is alarms


def test_a_switch_beside_it_reaches_no_magnitude_floor() -> None:
    x_ND = np.column_stack([np.arange(4000) // 300 % 2, frozen(4000, 2000, moves=0.1)])
    rules = only(magnitude_floor=50.0)
    assert not told(stepped(x_ND, rules, schema(["switch", "x"])), "pattern")


@pytest.mark.parametrize(("floor", "alarms"), [(0.5, True), (5.0, False)])
def test_a_floor_asks_how_much_less_it_moves_in_its_own_units(floor: float, alarms: bool) -> None:
    of = Schema((Numeric("x", min_deviation=floor),))
    assert bool(told(stepped(frozen(), only(), of), "pattern")) is alarms


@pytest.mark.parametrize("place", [0, 1, 2, 5, 30, 31, 100])
@pytest.mark.parametrize("value", [-9999.0, 65535.0, 9e29, 1e300])
def test_one_strange_value_is_not_what_is_usual_of_its_steps(place: int, value: float) -> None:
    """The same holds for levels (decision 66). Otherwise a step of 1e29 would be the usual step for years."""
    x_N = np.insert(frozen(moves=1.0), place, value)
    u_N = stepped(x_N, only()).scores.evidence_NJ[:, Signal.QUIET]
    plain_N = stepped(frozen(moves=1.0), only()).scores.evidence_NJ[:, Signal.QUIET]
    assert u_N[215] == pytest.approx(plain_N[214], abs=1.0)
    assert u_N[-1] == pytest.approx(plain_N[-1], abs=0.1)


def test_a_frozen_field_hides_no_fault_of_another() -> None:
    """It is reported at once that the field is stuck, and the others are judged as if it were not quiet."""
    random = np.random.default_rng(0)
    x_ND = 10.0 + random.normal(size=(6000, 2))
    x_ND[5000:, 0] = x_ND[5000, 0]
    x_ND[5015:, 1] += 2.0
    step = stepped(x_ND, Rules(alarms_per_day=1.0), schema(["frozen", "shifted"]))
    (first, *_) = [at for at in told(step, "pattern") if at >= 5000]
    assert 5015 <= first < 5035
    (opened,) = [one for one in step.alerts if one.event == "open" and one.provenance.first_offset == first]
    assert opened.features[0].name == "shifted"


def test_a_stream_of_categories_alone_alarms() -> None:
    made = detector(Schema((), ("c",)), Rules())
    texts = [["ab"[at % 2]] for at in range(400)] + [["zzz"]]
    step = made.step(observations(["s"] * 401, list(range(401)), [[]] * 401, texts))
    assert 400 in told(step, "pattern")


def test_while_a_value_is_stuck_its_stream_learns_as_slowly_as_in_any_episode() -> None:
    x_N = frozen(1500, 1300)
    row = {}
    for stuck in (True, False):
        made = detector(schema(["x"]), Rules(evidence=(Evidence.POINT,), stuck=DurationRule(enabled=stuck)))
        made.step(observations(["s"] * len(x_N), list(range(len(x_N))), x_N[:, None].tolist()))
        row[stuck] = made.slab.gather(made.slab.rows(["s"]))["cal_levels_reached"][0, Signal.POINT, 0]
    assert row[True] < row[False] - 100


def test_it_is_counted_for_a_while_before_it_has_a_say() -> None:
    """A stream that an upgrade finds already known is not judged by the distribution of all streams."""
    x_N = frozen(1500, TRUSTED_AFTER + 100, moves=0.02)
    step = stepped(x_N, only())
    assert step.scores.evidence_NJ[TRUSTED_AFTER + 150, Signal.QUIET] > 2.0
    assert np.isnan(step.scores.p_value_N[: TRUSTED_AFTER + COUNTED_FOR]).all()
    assert np.isfinite(step.scores.p_value_N[TRUSTED_AFTER + COUNTED_FOR + 2 :]).all()


def test_what_is_missing_is_no_rest() -> None:
    x_TD = noise()
    x_TD[-30:] = np.nan
    u_TJ = evidence(over(layout(1).blank(1), x_TD))
    assert not (u_TJ[-30:, Signal.QUIET] > 1.0).any()
