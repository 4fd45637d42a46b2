"""All fields at once are compared with all that the stream has shown of them."""

from __future__ import annotations

import numpy as np
import pytest
from streams import detector, observations, schema
from test_relation import apart, square, stepped, together

from anomaly_daemon.detection import joint
from anomaly_daemon.detection.explain import SIGNAL_TEXTS
from anomaly_daemon.detection.joint import RIDGE, TRUSTED_AFTER
from anomaly_daemon.detection.observation import Direction, Float64, Numeric, Schema
from anomaly_daemon.detection.rules import EpisodeRule, Evidence, Rules
from anomaly_daemon.detection.signals import Signal

FIRST = 1024
"""The first event after `TRUSTED_AFTER` at which the covariance is inverted."""

ONLY = Rules(evidence=(Evidence.JOINT,), alarms_per_day=5.0, episode=EpisodeRule(magnitude_floor=0.0))


def evidence_of(values_ND: Float64, of: Schema | None = None) -> Float64:
    """Return the joint evidence of each event [N]."""
    return stepped(values_ND, ONLY, of)[1].scores.evidence_NJ[:, Signal.JOINT]


def test_fields_that_go_each_their_own_way_for_a_moment_are_found_and_told_of() -> None:
    values = apart(together(), 1, 1500, 1504)
    (opened, *_) = [one for one in stepped(values, ONLY)[1].alerts if one.event == "open"]
    assert 1500 <= opened.provenance.first_offset < 1504
    assert opened.features[0].name == "f1"
    assert "expected from the other fields" in opened.reason
    assert SIGNAL_TEXTS[Signal.JOINT] in opened.reason


def test_it_needs_no_field_that_hangs_on_others_as_relations_do() -> None:
    random = np.random.default_rng(3)
    driver = random.normal(size=(2000, 1))
    values = 0.6 * driver + random.normal(size=(2000, 6))  # the others explain less than half of each
    values[1500:1504] = [2.0, -2.0, 2.0, -2.0, 2.0, -2.0]
    scores = stepped(values, ONLY)[1].scores
    assert np.isnan(scores.evidence_NJ[:, Signal.RELATION]).all()
    others = np.delete(scores.evidence_NJ[FIRST:, Signal.JOINT], np.s_[470:500])
    assert scores.evidence_NJ[1503, Signal.JOINT] > np.nanmax(others)


def test_it_is_mahalanobis_distance_over_the_last_events() -> None:
    values = together(1200)
    made, step = stepped(values, ONLY)
    row = made.slab.gather(made.slab.rows(["s"]))
    parts = row["joint_part"][0]
    assert step.scores.evidence_NJ[-1, Signal.JOINT] == pytest.approx(np.log1p(parts.sum()))
    inverse = square(made, "joint_inverse", 3)
    z_D = (values[-1] - row["level_mean"][0]) / np.sqrt(row["level_variance"][0])
    before = stepped(values[:-1], ONLY)[0]
    former = before.slab.gather(before.slab.rows(["s"]))["joint_part"][0]
    rate = 2.0 / (joint.EVENTS + 1.0)
    assert parts == pytest.approx(former + rate * (z_D * (inverse @ z_D) / 3 - former), rel=0.05, abs=0.02)


def test_the_inverse_is_that_of_the_covariance_with_a_small_ridge() -> None:
    made = stepped(together(1024), ONLY)[0]
    covariance = square(made, "relation_covariance", 3)
    expected = np.linalg.inv(covariance + RIDGE * np.eye(3))
    np.testing.assert_allclose(square(made, "joint_inverse", 3), expected, rtol=1e-3, atol=1e-3)


def test_it_is_silent_until_the_covariance_is_known() -> None:
    u_N = evidence_of(together(TRUSTED_AFTER + 50))
    assert np.isnan(u_N[:FIRST]).all()
    assert np.isfinite(u_N[FIRST:]).all()


def test_a_switch_that_rests_takes_no_part() -> None:
    values = together(2000)
    switch = (np.arange(2000) % 400 == 0).astype(float)
    with_switch = np.column_stack([values, switch])
    made, step = stepped(with_switch, ONLY)
    assert made.slab.gather(made.slab.rows(["s"]))["joint_part"][0, 3] == pytest.approx(0.0, abs=1e-6)
    without = evidence_of(values)
    np.testing.assert_allclose(step.scores.evidence_NJ[1100:, Signal.JOINT], without[1100:], rtol=1e-3, atol=1e-3)


def test_a_field_that_is_missing_adds_nothing() -> None:
    values = together(1500)
    values[1200:, 2] = np.nan
    u_N = evidence_of(values)
    assert np.isfinite(u_N[1200:]).all()
    assert u_N[1250:].max() < evidence_of(together(1500))[FIRST:].max() + 0.3


def test_a_field_that_came_late_takes_no_part_before_it_is_known() -> None:
    values = together(5000)
    values[:2000, 2] = np.nan
    made, step = stepped(values[:2900], ONLY)
    assert made.slab.gather(made.slab.rows(["s"]))["joint_part"][0, 2] == pytest.approx(0.0, abs=1e-6)
    without = evidence_of(values[:2900, :2])
    np.testing.assert_allclose(step.scores.evidence_NJ[2100:, Signal.JOINT], without[2100:], rtol=0.05, atol=0.05)
    late, always = evidence_of(values), evidence_of(together(5000))
    assert late[2000:3300].max() < always[FIRST:].max() + 0.3
    assert late[3200:].mean() == pytest.approx(always[3200:].mean(), abs=0.1)


def test_an_inverse_that_was_not_made_yet_says_nothing() -> None:
    """This is the case for rows stored by a release that kept no inverse."""
    made = stepped(together(1300), ONLY)[0]
    row_B = made.slab.rows(["s"])
    rows = made.slab.gather(row_B)
    rows["joint_inverse"] = 0.0
    made.slab.scatter(row_B, rows)
    times = list(range(1300, 1340))
    u_N = made.step(observations(["s"] * 40, times, together(1340)[1300:].tolist())).scores.evidence_NJ[:, Signal.JOINT]
    assert np.isnan(u_N[: 1312 - 1300]).all()
    assert np.isfinite(u_N[1312 - 1300 :]).all()


def test_a_field_that_counts_on_one_side_does_so_here() -> None:
    values, found = together(), {}
    values[1500:1510, 1] -= 1.5
    for direction in (Direction.ABOVE, Direction.BELOW):
        of = Schema((Numeric("f0"), Numeric("f1", direction=direction), Numeric("f2")))
        made = stepped(values[:1510], ONLY, of)[0]
        found[direction] = made.slab.gather(made.slab.rows(["s"]))["joint_part"][0, 1]
    assert found[Direction.BELOW] > 10.0 * max(found[Direction.ABOVE], 0.1)


def test_a_stream_is_told_by_itself_whatever_comes_with_it() -> None:
    one, other = apart(together(1300), 0, 1100, 1110, 300), together(1300, seed=5) * 3.0
    alone = stepped(one, ONLY)[1].scores.p_value_N
    keys, times = ["s", "t"] * 1300, [at // 2 for at in range(2600)]
    values = np.stack([one, other], axis=1).reshape(2600, 3)
    both = detector(schema(["f0", "f1", "f2"]), ONLY).step(observations(keys, times, values.tolist()))
    np.testing.assert_array_equal(both.scores.p_value_N[::2], alone)
