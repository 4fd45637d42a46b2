from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_daemon.detection.calibration import (
    CROWDED,
    TAIL,
    Calibration,
    Known,
    Method,
    assumed,
    harmonic,
    level,
    p_values,
    survival,
    update,
)
from anomaly_daemon.training.calibration_fit import fit

MEMORY = 2000.0


def evidence(streams: int, events: int, seed: int = 0) -> list[np.ndarray]:
    """Streams with a scale of their own."""
    generator = np.random.default_rng(seed)
    return [generator.uniform(0.2, 0.6) * generator.exponential(1, (events, 2)) for _ in range(streams)]


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return fit(evidence(30, 1000), MEMORY, 50)


def run(shared: Calibration, u_TJ: np.ndarray, pace: float = 1.0) -> tuple[np.ndarray, Known]:
    known, kept = Known.initial(1, shared), []
    for u_J in u_TJ:
        kept.append(p_values(shared, known, level(known), u_J[None])[0][0])
        known = update(known, level(known), u_J[None], MEMORY, np.array([pace]))
    return np.array(kept), known


def test_p_values_of_new_streams_are_uniform(fitted: Calibration) -> None:
    p = np.concatenate([run(fitted, u)[0][100:] for u in evidence(10, 3000, seed=7)])
    for share in (0.5, 0.1, 0.01, 0.003):
        # independent events: not every excess begins a run, another may be near
        assert (p <= share).mean() == pytest.approx(share, rel=0.5)


def test_p_values_fall_as_evidence_rises_across_the_tails_threshold(fitted: Calibration) -> None:
    u = np.linspace(0, 30, 400)
    known = Known.initial(400, fitted)
    p, method = p_values(fitted, known, level(known), np.stack([u, u], axis=1))
    assert (np.diff(p, axis=0) <= 1e-12).all()
    assert method[0, 0] == Method.BODY
    assert set(method[:, 0]) == {Method.BODY, Method.TAIL, Method.EXTRAPOLATED}
    assert p[method[:, 0] == Method.TAIL, 0].max() <= TAIL + 1e-9


def test_unknown_evidence_has_no_p_value_and_teaches_nothing(fitted: Calibration) -> None:
    nothing = np.full((1, 2), np.nan)
    assert np.isnan(p_values(fitted, Known.initial(1, fitted), level(Known.initial(1, fitted)), nothing)[0]).all()
    _, known = run(fitted, nothing)
    start = Known.initial(1, fitted)
    assert known.count[0] == 0
    assert np.array_equal(known.reached, start.reached)
    assert np.array_equal(known.since, start.since)


def test_each_stream_learns_its_own_level(fitted: Calibration) -> None:
    u = np.random.default_rng(1).normal(3.0, 0.5, (2500, 2))
    _, known = run(fitted, u)
    assert level(known)[0] == pytest.approx(np.quantile(u, 1 - TAIL, axis=0), abs=0.25)


def test_the_shared_level_is_where_a_stream_begins(fitted: Calibration) -> None:
    pooled = np.concatenate(evidence(30, 1000))[:, 0]
    assert level(Known.initial(1, fitted))[0, 0] == pytest.approx(np.quantile(pooled, 1 - TAIL), abs=0.15)


def test_a_pace_of_zero_teaches_nothing_and_a_small_one_little(fitted: Calibration) -> None:
    u = np.full((200, 2), 4.5)
    start, full, slow, none = (
        Known.initial(1, fitted),
        run(fitted, u)[1],
        run(fitted, u, 0.1)[1],
        run(fitted, u, 0.0)[1],
    )
    assert np.array_equal(none.reached, start.reached)
    for name in ("excess", "extremal"):
        assert np.array_equal(getattr(none, name), getattr(start, name))
    assert level(start)[0, 0] < level(full)[0, 0]
    assert start.reached[0, 0, 13] < slow.reached[0, 0, 13] < full.reached[0, 0, 13]


def test_what_is_known_each_moves_the_p_value_alone(fitted: Calibration) -> None:
    known = Known.initial(1, fitted)
    u = level(known) + 1.0
    before = p_values(fitted, known, level(known), u)[0][0, 0]
    higher = known.reached.copy()
    higher[:, :, 1:] *= 1.5
    changed = {"reached": higher, "excess": known.excess * 1.5, "extremal": known.extremal * 1.2}
    for name, value in changed.items():
        moved = replace(known, **{name: value})
        assert p_values(fitted, moved, level(moved), u)[0][0, 0] > before, name


def test_a_streams_own_tail_is_learned_whatever_its_shape(fitted: Calibration) -> None:
    generator = np.random.default_rng(11)
    for draw in (generator.uniform(0, 1, (6000, 2)), np.log1p(generator.lognormal(0, 1, (6000, 2)))):
        _, known = run(fitted, draw)
        assert (draw[2000:] > level(known)).mean() == pytest.approx(TAIL, rel=0.35)


def test_evidence_crowded_within_a_bin_does_not_pass_the_level_more_often_in_the_long_run(fitted: Calibration) -> None:
    """Even bins place the level below all of it."""
    crowded = 1.749 - 0.0001 * np.random.default_rng(2).uniform(size=(12_000, 2))
    known, beyond = Known.initial(1, fitted), []
    for u_J in crowded:
        beyond.append(u_J > level(known)[0])
        known = update(known, level(known), u_J[None], MEMORY, np.ones(1))
    assert np.mean(beyond[6000:]) < 1.1 * CROWDED


def test_old_events_are_forgotten_and_the_total_stays_bounded(fitted: Calibration) -> None:
    shared, known = fitted, Known.initial(1, fitted)
    for _ in range(3000):
        known = update(known, level(known), np.full((1, 2), 0.1), 10.0, np.ones(1))
    assert known.reached[0, 0, 0] == pytest.approx(100.0, rel=0.01)
    assert known.reached[0, 0, 5] < 0.01 * known.reached[0, 0, 0]
    assert shared.kinds == 2


def test_evidence_that_stays_high_is_one_run(fitted: Calibration) -> None:
    generator = np.random.default_rng(3)
    alone = generator.exponential(0.4, (4000, 2))
    runs = np.repeat(generator.exponential(0.4, (200, 2)), 20, axis=0)
    by_itself, in_runs = run(fitted, alone)[1].extremal[0, 0], run(fitted, runs)[1].extremal[0, 0]
    assert in_runs < 0.35 < 0.6 < by_itself


def test_the_harmonic_mean_is_led_by_the_least_and_leaves_out_the_unknown() -> None:
    odds = np.array([1.0, 1.0, 0.5])
    p = np.array([[0.5, 1e-6, 0.5], [0.2, 0.2, 0.2], [0.01, np.nan, np.nan], [np.nan] * 3])
    found = harmonic(p, odds)
    assert found[0] == pytest.approx(2.5e-6, rel=0.01)
    assert found[1:3] == pytest.approx([0.2, 0.01])
    assert np.isnan(found[3])
    assert harmonic(np.array([[0.5, 0.5, 1e-6]]), odds)[0] == pytest.approx(5e-6, rel=0.01)


def test_the_survival_function_keeps_its_mean_whatever_the_shape() -> None:
    x = np.linspace(0, 2000, 400_001)
    for shape in (0.0, 0.2, 0.4):
        mean = np.trapezoid(survival(x, np.array(3.0), shape), x)
        assert mean == pytest.approx(3.0, rel=0.02)


def test_a_heavier_tail_is_seen_as_heavier() -> None:
    generator = np.random.default_rng(5)
    light = fit([generator.exponential(1, (4000, 1)) for _ in range(5)], MEMORY, 50)
    heavy = fit([generator.pareto(3, (4000, 1)) for _ in range(5)], MEMORY, 50)
    assert light.shape_J[0] < 0.15 < heavy.shape_J[0]


def test_too_little_held_out_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1,000"):
        fit(evidence(2, 100), MEMORY, 50)


def test_an_assumed_calibration_says_that_nothing_was_measured() -> None:
    assert assumed(3).samples == 0
    assert assumed(3).kinds == 3
