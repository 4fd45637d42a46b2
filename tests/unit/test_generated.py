"""Generated streams: they are repeatable, finite, ordered, and of every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.calibration import assumed
from anomaly_daemon.detection.network import Layout
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.settings import PRETRAINED
from anomaly_daemon.training.dataset import Part
from anomaly_daemon.training.generated import PARTS, SECOND, Rhythm, streams
from anomaly_daemon.training.pretrain import CUTS, SCHEMA, YEARS, Recipe, pretrain, recalibrated
from anomaly_daemon.training.rows import network_rows


def test_a_seed_is_a_data_set() -> None:
    first, again, other = (streams(seed, 5, 0.0, (50, 90)) for seed in (1, 1, 2))
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.values_TD, same.values_TD, equal_nan=True)
        assert np.array_equal(one.time_T, same.time_T)
    assert not np.array_equal(first[0].values_TD, other[0].values_TD[: len(first[0])])


def test_more_streams_leave_the_first_ones_as_they_were() -> None:
    few, many = streams(1, 2, 0.0, (50, 90)), streams(1, 6, 0.0, (50, 90))
    assert all(np.array_equal(a.time_T, b.time_T) for a, b in zip(few, many[:2], strict=True))


def test_streams_are_in_time_order_within_the_asked_lengths_and_hold_numbers() -> None:
    for one in streams(3, 200, 1e9, (50, 400)):
        assert 50 <= len(one) <= 400
        assert np.all(np.diff(one.time_T) >= 0)
        assert one.time_T[0] >= 1e9 * SECOND
        there = ~np.isnan(one.values_TD)
        assert there.mean() > 0.8
        assert np.isfinite(one.values_TD[there]).all()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@pytest.mark.parametrize("cadence", [1.0, 3600.0])
def test_every_part_gives_a_finite_value_for_every_event(
    part: Callable[[np.random.Generator, Rhythm], np.ndarray], cadence: float
) -> None:
    for seed in range(5):
        values_T = part(np.random.default_rng(seed), Rhythm(np.arange(300) * cadence, cadence))
        assert values_T.shape == (300,)
        assert np.isfinite(values_T).all()


def test_a_daily_part_repeats_on_the_next_working_day() -> None:
    hourly = Rhythm(np.arange(4 * 24) * 3600.0, 3600.0)  # Thursday to Sunday
    (daily,) = (part for part in PARTS if part.__name__ == "daily")
    values_T = daily(np.random.default_rng(1), hourly)
    assert np.allclose(values_T[:24], values_T[24:48])


def test_the_recipes_parts_are_different_streams_in_different_years() -> None:
    recipe = Recipe(training_streams=6, held_out_streams=3, longest=600)
    series = recipe.series()
    assert len({one.key for one in series}) == 12
    counts = [sum(stop > start for start, stop in (CUTS.span(one.time_T, part) for one in series)) for part in Part]
    assert counts == [6, 3, 3]
    assert YEARS[0] * SECOND < CUTS.validation < CUTS.test


def test_generated_streams_normalise_to_bounded_inputs() -> None:
    for row in network_rows(streams(5, 60, 0.0, (100, 400)), SCHEMA, {}, Normalizer(), Layout.CHANNEL):
        assert np.isfinite(row.values_TD).all()
        assert np.abs(row.values_TD).max() < 40.0


def test_the_shipped_network_fits_any_schema_and_says_how_it_was_made() -> None:
    model = read_model(PRETRAINED)
    assert model.manifest.schema is None
    assert model.manifest.network.layout is Layout.CHANNEL
    assert model.calibration.samples > 10_000
    assert Recipe(**model.manifest.training["recipe"]) == Recipe()
    measured = model.manifest.training["metrics"]
    assert measured["network"]["nll"] < min(measured["ewma"]["nll"], measured["last_value"]["nll"])
    assert measured["network"]["absolute_error"] < measured["last_value"]["absolute_error"]


def test_a_recipe_makes_a_model_again_to_the_last_bit_and_its_calibration_alone() -> None:
    recipe = Recipe(training_streams=8, held_out_streams=8, shortest=300, longest=500, epochs=1, hidden=50, window=32)
    model = pretrain(recipe)
    assert pretrain(recipe).digest == model.digest
    assert recalibrated(replace(model, calibration=assumed(model.calibration.kinds))).digest == model.digest
    assert model.manifest.training["recipe"]["hidden"] == 50


def test_the_shipped_calibration_is_of_the_evidence_of_today() -> None:
    """What evidence is changes with the code. Then run `python -m anomaly_daemon.training.pretrain --recalibrate`."""
    shipped = read_model(PRETRAINED)
    made, there = recalibrated(shipped).calibration, shipped.calibration
    assert (made.names, made.samples) == (there.names, there.samples)
    np.testing.assert_allclose(made.reached_JK, there.reached_JK, atol=1e-3)
    np.testing.assert_allclose(made.excess_J, there.excess_J, rtol=0.02)
