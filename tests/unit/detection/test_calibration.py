from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_daemon.detection.calibration import (
    TAIL,
    Calibration,
    Known,
    Method,
    assumed,
    fit,
    p_values,
    survival,
    update,
)

MEMORY = 2000.0


def evidence(streams: int, events: int, seed: int = 0) -> list[np.ndarray]:
    """Streams with a location and spread of their own."""
    generator = np.random.default_rng(seed)
    return [
        generator.normal(0.5, 0.2) + generator.uniform(0.2, 0.6) * generator.exponential(1, (events, 2))
        for _ in range(streams)
    ]


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return fit(evidence(30, 1000), MEMORY, 50)


def run(shared: Calibration, u_TJ: np.ndarray, pace: float = 1.0) -> tuple[np.ndarray, Known]:
    known, kept = Known.initial(1, shared), []
    for u_J in u_TJ:
        kept.append(p_values(shared, known, u_J[None])[0][0])
        known = update(shared, known, u_J[None], MEMORY, np.array([pace]))
    return np.array(kept), known


def test_p_values_of_new_streams_are_uniform(fitted: Calibration) -> None:
    p = np.concatenate([run(fitted, u)[0][100:] for u in evidence(10, 2000, seed=7)])
    for level in (0.5, 0.1, 0.01, 0.003):
        assert (p <= level).mean() == pytest.approx(level, rel=0.35)


def test_p_values_fall_as_evidence_rises_across_the_tails_threshold(fitted: Calibration) -> None:
    u = np.linspace(-1, 30, 400)
    known = Known.initial(400, fitted)
    p, method = p_values(fitted, known, np.stack([u, u], axis=1))
    assert (np.diff(p, axis=0) <= 1e-12).all()
    assert method[0, 0] == Method.BODY
    assert set(method[:, 0]) == {Method.BODY, Method.TAIL, Method.EXTRAPOLATED}
    assert p[method[:, 0] == Method.TAIL, 0].max() <= TAIL + 1e-9


def test_unknown_evidence_has_no_p_value_and_teaches_nothing(fitted: Calibration) -> None:
    nothing = np.full((1, 2), np.nan)
    assert np.isnan(p_values(fitted, Known.initial(1, fitted), nothing)[0]).all()
    _, known = run(fitted, nothing)
    start = Known.initial(1, fitted)
    assert known.count[0] == 0
    assert np.array_equal(known.location, start.location)


def test_each_stream_learns_its_own_location_and_spread(fitted: Calibration) -> None:
    u = np.random.default_rng(1).normal(9.0, 2.0, (1500, 2))
    _, known = run(fitted, u)
    assert known.location[0] == pytest.approx([9.0, 9.0], abs=0.4)
    assert known.spread[0] == pytest.approx([1.6, 1.6], abs=0.3)


def test_a_pace_of_zero_teaches_nothing_and_a_small_one_little(fitted: Calibration) -> None:
    u = np.full((200, 2), 50.0)
    start, full, slow, none = (
        Known.initial(1, fitted),
        run(fitted, u)[1],
        run(fitted, u, 0.1)[1],
        run(fitted, u, 0.0)[1],
    )
    assert np.array_equal(none.location, start.location)
    assert start.location[0, 0] < slow.location[0, 0] < full.location[0, 0]


def test_location_spread_level_and_excess_each_move_the_p_value_alone(fitted: Calibration) -> None:
    known, u = (
        Known.initial(1, fitted),
        np.full((1, 2), fitted.location_J + fitted.spread_J * (fitted.body_JQ[0, -1] + 1)),
    )
    before = p_values(fitted, known, u)[0][0, 0]
    for name, factor in (("location", 1.1), ("spread", 1.2), ("level", 1.2), ("excess", 1.5)):
        moved = replace(known, **{name: getattr(known, name) * factor})
        assert p_values(fitted, moved, u)[0][0, 0] > before, name


def test_a_streams_own_tail_is_learned_whatever_its_shape(fitted: Calibration) -> None:
    generator = np.random.default_rng(11)
    for draw in (generator.uniform(0, 1, (6000, 2)), generator.lognormal(0, 1, (6000, 2))):
        p, _ = run(fitted, draw)
        assert (p[2000:] <= TAIL).mean() == pytest.approx(TAIL, rel=0.35)


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
