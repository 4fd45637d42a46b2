"""The task on which the cells are compared: it can be solved by memory, and by nothing else."""

from __future__ import annotations

import argparse

import numpy as np
import torch

from anomaly_daemon.detection.network import Cell, Inputs, Prediction
from benchmarks import cells

RANDOM_SEED = 3


def lag_rows(lag: int, events: int = 400) -> list[cells.Row]:
    random = np.random.default_rng(RANDOM_SEED)
    return [cells.row(random, 0, events, (lag, lag)) for _ in range(20)]


class Remembers:
    """A network that predicts at each repetition the value that was marked `lag` events before."""

    def __init__(self, lag: int) -> None:
        self.lag = lag

    def __call__(self, inputs: Inputs) -> tuple[Prediction, None, None]:
        before = torch.roll(inputs.values, self.lag, dims=1)
        return Prediction(before, torch.zeros_like(before), ()), None, None


class Guesses:
    """A network that predicts nothing."""

    def __call__(self, inputs: Inputs) -> tuple[Prediction, None, None]:
        nothing = torch.zeros_like(inputs.values)
        return Prediction(nothing, nothing, ()), None, None


def test_a_marked_value_comes_again_after_the_lag() -> None:
    for row in lag_rows(30):
        (marked,) = np.nonzero(row.context_TX[:, 0] == 1.0)
        (repeated,) = np.nonzero(row.context_TX[:, 0] == cells.REPEATED)
        assert len(marked) > 5
        assert (repeated - marked == 30).all()
        assert np.array_equal(row.values_TD[marked], row.values_TD[repeated])


def test_who_remembers_has_no_error_and_who_guesses_has_all_of_it() -> None:
    test = lag_rows(30)
    assert cells.unexplained(Remembers(30), test) == 0.0
    assert cells.unexplained(Remembers(29), test) > 0.9
    assert 0.9 < cells.unexplained(Guesses(), test) < 1.1


def test_each_cell_has_a_row_at_each_lag() -> None:
    asked = argparse.Namespace(lags=[4, 16], seeds=1, epochs=1, rows=32)
    told = [(case, metric) for case, metric, _ in cells.recalled(asked)]
    for cell in Cell:
        assert [metric for case, metric in told if case == f"recalled {cell}"] == [
            "lag_4", "lag_16", "weights", "seconds_an_epoch",
        ]  # fmt: skip
