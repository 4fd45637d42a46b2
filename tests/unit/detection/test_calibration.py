from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.bins import survival
from anomaly_daemon.detection.calibration import (
    CROWDED,
    TAIL,
    Calibration,
    Judged,
    Method,
    Shared,
    assumed,
    begin,
    columns,
    judge,
)
from anomaly_daemon.detection.state import Rows, StateLayout
from anomaly_daemon.training.calibration_fit import fit

MEMORY = 2000.0


def evidence(streams: int, events: int, seed: int = 0) -> list[np.ndarray]:
    """Return the evidence of streams that each have a scale of their own."""
    generator = np.random.default_rng(seed)
    return [generator.uniform(0.2, 0.6) * generator.exponential(1, (events, 2)) for _ in range(streams)]


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return fit(evidence(30, 1000), MEMORY, 50)


def fresh(shared: Calibration, rows: int = 1) -> Rows:
    """Return the rows of streams that have had no events yet."""
    blank = StateLayout(*columns(shared.kinds)).blank(rows)
    begin(blank, shared, slice(None))
    return blank


def fresh_weighing(shared: Calibration, events: float) -> tuple[Rows, Shared]:
    """Return the row of a stream that has had no events yet, and the shared distribution with the weight of `events`
    events."""
    blank = StateLayout(*columns(shared.kinds)).blank(1)
    begin(blank, shared, slice(None), events=events)
    return blank, Shared.of(shared, events)


def judged(shared: Calibration, known: Rows, u_BJ: np.ndarray) -> Judged:
    """Return the judgement of this evidence. `known` itself is not changed."""
    copy = known.take(np.arange(len(known)))
    return judge(copy, Shared.of(shared), u_BJ, MEMORY, np.ones(len(known)))


def levels(known: Rows) -> np.ndarray:
    """Return the level that a share `TAIL` of each stream's events pass, as the next event is compared with it."""
    nothing_BJ = np.full(known["cal_offset"].shape, np.nan)
    return judged(assumed(nothing_BJ.shape[1]), known, nothing_BJ).level


def run(shared: Calibration, u_TJ: np.ndarray, pace: float = 1.0) -> tuple[np.ndarray, Rows]:
    known, tails = fresh(shared), Shared.of(shared)
    p_TJ = [judge(known, tails, u_J[None], MEMORY, np.array([pace])).p[0] for u_J in u_TJ]
    return np.array(p_TJ), known


def test_p_values_of_new_streams_are_uniform(fitted: Calibration) -> None:
    p = np.concatenate([run(fitted, u)[0][100:] for u in evidence(10, 3000, seed=7)])
    for share in (0.5, 0.1, 0.01, 0.003):
        # Although the events are independent, not every exceedance begins a run, because another one may be near.
        assert (p <= share).mean() == pytest.approx(share, rel=0.5)


def test_p_values_fall_as_evidence_rises_across_the_tails_threshold(fitted: Calibration) -> None:
    u = np.linspace(0, 30, 400)
    found = judged(fitted, fresh(fitted, 400), np.stack([u, u], axis=1))
    p, method = found.p, found.method
    assert (np.diff(p, axis=0) <= 1e-12).all()
    assert method[0, 0] == Method.BODY
    assert set(method[:, 0]) == {Method.BODY, Method.TAIL, Method.EXTRAPOLATED}
    assert p[method[:, 0] == Method.TAIL, 0].max() <= TAIL + 1e-9


def test_unknown_evidence_has_no_p_value_and_teaches_nothing(fitted: Calibration) -> None:
    nothing = np.full((1, 2), np.nan)
    assert np.isnan(judged(fitted, fresh(fitted), nothing).p).all()
    _, known = run(fitted, nothing)
    start = fresh(fitted)
    assert known["cal_count"][0] == 0
    assert np.array_equal(known.carried_BP, start.carried_BP)
    assert np.array_equal(known.statistics_BQ, start.statistics_BQ)


def test_each_stream_learns_its_own_level(fitted: Calibration) -> None:
    u = np.random.default_rng(1).normal(3.0, 0.5, (2500, 2))
    _, known = run(fitted, u)
    assert levels(known)[0] == pytest.approx(np.quantile(u, 1 - TAIL, axis=0), abs=0.25)


def test_what_is_shared_holds_for_as_many_events_as_it_weighs(fitted: Calibration) -> None:
    """Checks the level after a few hundred events that are unlike those of the other streams."""
    u = np.random.default_rng(1).normal(3.0, 0.5, (300, 2))
    start, level = levels(fresh(fitted))[0], {}
    for events in (30.0, 300.0, 3000.0):
        known, tails = fresh_weighing(fitted, events)
        for u_J in u:
            judge(known, tails, u_J[None], MEMORY, np.ones(1))
        level[events] = levels(known)[0]
    learned = np.quantile(u, 1 - TAIL, axis=0)
    assert level[30.0] == pytest.approx(learned, abs=0.25)
    assert (start < level[3000.0]).all()
    assert (level[3000.0] < level[300.0]).all()
    assert (level[300.0] <= level[30.0]).all()


def test_one_excess_moves_the_mean_the_less_the_more_the_shared_one_weighs(fitted: Calibration) -> None:
    moved = []
    for events in (30.0, 300.0, 3000.0):
        known, tails = fresh_weighing(fitted, events)
        judge(known, tails, levels(known) + 3.0, 1e6, np.ones(1))
        moved.append(known["cal_excess"][0] - fitted.excess_J)
    assert moved[0] == pytest.approx(10 * moved[1], rel=0.02)
    assert moved[1] == pytest.approx(10 * moved[2], rel=0.02)


def test_the_shared_level_is_where_a_stream_begins(fitted: Calibration) -> None:
    pooled = np.concatenate(evidence(30, 1000))[:, 0]
    assert levels(fresh(fitted))[0, 0] == pytest.approx(np.quantile(pooled, 1 - TAIL), abs=0.15)


def test_a_pace_of_zero_teaches_nothing_and_a_small_one_little(fitted: Calibration) -> None:
    u = np.full((200, 2), 4.5)
    start, full, slow, none = (
        fresh(fitted),
        run(fitted, u)[1],
        run(fitted, u, 0.1)[1],
        run(fitted, u, 0.0)[1],
    )
    for name in ("cal_levels_reached", "cal_excess", "cal_extremal", "cal_count"):
        assert np.array_equal(none[name], start[name])
    assert levels(start)[0, 0] < levels(full)[0, 0]
    first, second, third = (known["cal_levels_reached"][0, 0, 13] for known in (start, slow, full))
    assert first < second < third


def test_what_is_known_each_moves_the_p_value_alone(fitted: Calibration) -> None:
    known = fresh(fitted)
    u = levels(known) + 1.0
    before = judged(fitted, known, u).p[0, 0]
    higher = known["cal_levels_reached"].copy()
    higher[:, :, 1:] *= 1.5
    changed = {
        "cal_levels_reached": higher,
        "cal_excess": known["cal_excess"] * 1.5,
        "cal_extremal": known["cal_extremal"] * 1.2,
    }
    for name, value in changed.items():
        moved = fresh(fitted)
        moved[name] = value
        assert judged(fitted, moved, u).p[0, 0] > before, name


def test_a_streams_own_tail_is_learned_whatever_its_shape(fitted: Calibration) -> None:
    generator = np.random.default_rng(11)
    for draw in (generator.uniform(0, 1, (6000, 2)), np.log1p(generator.lognormal(0, 1, (6000, 2)))):
        _, known = run(fitted, draw)
        assert (draw[2000:] > levels(known)).mean() == pytest.approx(TAIL, rel=0.35)


def test_evidence_crowded_within_a_bin_does_not_pass_the_level_more_often_in_the_long_run(fitted: Calibration) -> None:
    """Spreading events evenly over the bin would place the level below all of them."""
    crowded = 1.749 - 0.0001 * np.random.default_rng(2).uniform(size=(12_000, 2))
    known, tails, one = fresh(fitted), Shared.of(fitted), np.ones(1)
    beyond = [u_J > judge(known, tails, u_J[None], MEMORY, one).level[0] for u_J in crowded]
    assert np.mean(beyond[6000:]) < 1.1 * CROWDED


def test_old_events_are_forgotten_and_the_total_stays_bounded(fitted: Calibration) -> None:
    known, tails = fresh(fitted), Shared.of(fitted)
    for _ in range(3000):
        judge(known, tails, np.full((1, 2), 0.1), 10.0, np.ones(1))
    reached_K = known["cal_levels_reached"][0, 0]
    assert reached_K[0] == pytest.approx(100.0, rel=0.01)
    assert reached_K[5] < 0.01 * reached_K[0]
    assert fitted.kinds == 2


def test_evidence_that_stays_high_is_one_run(fitted: Calibration) -> None:
    generator = np.random.default_rng(3)
    alone = generator.exponential(0.4, (4000, 2))
    runs = np.repeat(generator.exponential(0.4, (200, 2)), 20, axis=0)
    by_itself, in_runs = (run(fitted, u)[1]["cal_extremal"][0, 0] for u in (alone, runs))
    assert in_runs < 0.35 < 0.6 < by_itself


def test_the_survival_function_keeps_its_mean_whatever_the_shape() -> None:
    x = np.linspace(0, 2000, 100_001)
    for shape in (0.0, 0.2, 0.4):
        mean = np.trapezoid([survival(each, 3.0, shape) for each in x], x)
        assert mean == pytest.approx(3.0, rel=0.02)


def test_a_heavier_tail_is_seen_as_heavier() -> None:
    generator = np.random.default_rng(5)
    light = fit([generator.exponential(1, (4000, 1)) for _ in range(5)], MEMORY, 50)
    heavy = fit([generator.pareto(3, (4000, 1)) for _ in range(5)], MEMORY, 50)
    assert light.shape_J[0] < 0.15 < heavy.shape_J[0]


def test_too_little_held_out_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"first 50 \(detection.grace_events\), 1,000 are needed"):
        fit(evidence(2, 100), MEMORY, 50)


def test_an_assumed_calibration_says_that_nothing_was_measured() -> None:
    assert assumed(3).samples == 0
    assert assumed(3).kinds == 3
