"""Runs, windows and lanes: which rows share a batch, and where their state comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from pydantic import ValidationError
from training_samples import SMALL, rows_and_cuts, settings

from anomaly_daemon.detection.network import Network
from anomaly_daemon.training.chunks import RUN_WINDOWS, Run, collate, run_events, schedule, shuffled_runs, whole_runs
from anomaly_daemon.training.dataset import Part
from anomaly_daemon.training.loop import carried, chunk_loss


@trying(deadline=None)
@given(st.integers(0, 9), st.integers(1, 60))
def test_the_runs_of_a_row_cover_its_training_part_once_and_reach_no_later_part(seed: int, length: int) -> None:
    rows, cuts = rows_and_cuts()
    runs = shuffled_runs(rows, cuts, length, np.random.default_rng(seed))
    for place, row in enumerate(rows):
        covered = [event for run in runs if run.row == place for event in range(run.start, run.stop)]
        assert sorted(covered) == list(range(cuts.span(row.time_T, Part.TRAINING)[1]))


def test_every_epoch_cuts_and_orders_anew_and_a_seed_repeats_it() -> None:
    rows, cuts = rows_and_cuts()
    first, again, other = (shuffled_runs(rows, cuts, 32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


@trying(deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from([(16, 16), (16, 8), (20, 5)]),
)
def test_a_run_is_walked_to_its_end_each_window_from_the_one_before(
    lengths: list[int], batch: int, spans: tuple[int, int]
) -> None:
    window, stride = spans
    runs = [Run(place, 3, 3 + length) for place, length in enumerate(lengths)]
    walked: dict[int, list[int]] = {}
    before: list[int] = []
    for lanes in schedule(runs, batch, window, stride):
        assert 0 < len(lanes) <= batch
        for lane in lanes:
            expected = -1 if lane.position == lane.run.start else before.index(lane.run.row)
            assert lane.previous == expected
            walked.setdefault(lane.run.row, []).append(lane.position)
        before = [lane.run.row for lane in lanes]
    for place, length in enumerate(lengths):
        positions = walked[place]
        assert positions == list(range(3, 3 + stride * len(positions), stride))
        assert positions[-1] + window >= 3 + length
        assert len(positions) == 1 or positions[-2] + window < 3 + length


def test_small_input_still_fills_a_batch_and_large_input_is_walked_in_long_runs() -> None:
    assert run_events(events=5_000, batch=64, window=128, stride=64) == 128
    assert run_events(events=10**8, batch=64, window=128, stride=64) == 128 + (RUN_WINDOWS - 1) * 64


def test_a_shorter_window_is_padded_at_its_end() -> None:
    rows, _ = rows_and_cuts()
    (lanes,) = schedule([Run(0, 0, 20), Run(1, 0, 12)], 2, 32, 32)
    chunk = collate(rows, lanes, 32, SMALL.reconstruct)
    assert chunk.inputs.values.shape == (2, 20, 2)
    assert chunk.recorded.sum(dim=1).tolist() == [20, 12]
    assert not chunk.inputs.mask[1, 12:].any()
    assert (chunk.targets[1, 12:] == -1).all()


def test_the_state_is_carried_from_window_to_window_whatever_the_stride() -> None:
    rows, cuts = rows_and_cuts(streams=3)
    network = Network(SMALL, torch.Generator().manual_seed(0)).eval()
    runs = whole_runs(rows, cuts, Part.TRAINING)
    whole = collate(rows, next(schedule(runs, 3, 1000, 1000)), 1000, SMALL.reconstruct)
    expected, _, _ = network(whole.inputs)
    for window, stride in ((40, 40), (40, 10)):
        state = network.initial_state(0)
        for step, lanes in enumerate(schedule(runs, 3, window, stride)):
            chunk = collate(rows, lanes, window, SMALL.reconstruct)
            state = carried(state, chunk.previous)
            here, _, _ = network(chunk.inputs, state, chunk.past_values[:, -1])
            _, state = chunk_loss(network, chunk, state, stride)
            start = step * stride
            there = expected.location[:, start : start + chunk.inputs.values.shape[1]]
            assert torch.allclose(here.location, there, atol=1e-5)


def test_a_run_that_starts_in_anothers_place_starts_from_nothing() -> None:
    state = Network(SMALL).initial_state(2)
    filled = type(state)(state.hidden + 1.0, state.cell + 2.0)
    after = carried(filled, torch.tensor([1, -1, 0]))
    assert after.hidden[0, :, 0].tolist() == [1.0, 0.0, 1.0]
    assert after.cell[0, :, 0].tolist() == [2.0, 0.0, 2.0]


@pytest.mark.parametrize("stride", [0, 33])
def test_a_stride_that_stands_still_or_skips_events_is_refused(stride: int) -> None:
    with pytest.raises(ValidationError, match="stride"):
        settings(window=32, stride=stride)
