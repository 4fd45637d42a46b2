"""The loss, with one input changed at a time. Missing values and padding cost nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import StudentT
from training_samples import SMALL, rows_and_cuts

from anomaly_daemon.detection.network import Network
from anomaly_daemon.training.chunks import Chunk, Lane, Run, collate
from anomaly_daemon.training.loss import FREEDOM, Loss, losses, past, student_nll
from anomaly_daemon.training.rows import NO_CLASS


@pytest.fixture
def chunk() -> Chunk:
    rows, _ = rows_and_cuts()
    lanes = [Lane(Run(0, 20, 60), 30, -1), Lane(Run(1, 40, 52), 40, -1)]
    return collate(rows, lanes, 20, SMALL.reconstruct)


def told(chunk: Chunk) -> Loss:
    network = Network(SMALL, torch.Generator().manual_seed(0)).eval()
    prediction, rebuilt, _ = network(chunk.inputs)
    return losses(prediction, rebuilt, chunk)


def test_the_likelihood_is_that_of_students_t() -> None:
    target, location, log_scale = torch.randn(3, 50, dtype=torch.float64).unbind()
    expected = -StudentT(FREEDOM, location, log_scale.exp()).log_prob(target)
    assert torch.allclose(student_nll(target, location, log_scale), expected)


def test_an_outlier_pulls_with_a_bounded_force() -> None:
    location = torch.zeros(1, requires_grad=True)
    forces = []
    for target in (3.0, 30.0, 300.0):
        (gradient,) = torch.autograd.grad(student_nll(torch.tensor([target]), location, torch.zeros(1)).sum(), location)
        forces.append(float(-gradient))
    assert forces[0] > forces[1] > forces[2] > 0


def test_the_past_is_newest_first_and_reaches_back_before_the_window_but_not_before_the_run(chunk: Chunk) -> None:
    rows, _ = rows_and_cuts()
    values, mask = past(chunk, SMALL.reconstruct)
    assert torch.equal(values[0, 0], torch.from_numpy(rows[0].values_TD[27:31][::-1].copy()))
    assert mask[0, 0].all()
    assert torch.equal(values[1, 0, 0], torch.from_numpy(rows[1].values_TD[40]))
    assert not mask[1, 0, 1:].any()


def test_padding_costs_nothing(chunk: Chunk) -> None:
    rows, _ = rows_and_cuts()
    alone = [
        collate(rows, [Lane(run, at, -1)], 20, SMALL.reconstruct)
        for run, at in ((Run(0, 20, 60), 30), (Run(1, 40, 52), 40))
    ]
    together, apart = told(chunk), [told(one) for one in alone]
    for name in Loss._fields:
        assert torch.allclose(
            getattr(together, name).float(), sum(getattr(one, name).float() for one in apart), rtol=1e-5
        )


def test_a_masked_value_costs_nothing(chunk: Chunk) -> None:
    before = told(chunk)
    chunk.inputs.mask[0, 5, 1] = 0.0
    after = told(chunk)
    assert after.predicted == before.predicted - 1
    assert after.rebuilt == before.rebuilt - SMALL.reconstruct


def test_a_missing_class_costs_nothing_and_another_class_costs_something_else(chunk: Chunk) -> None:
    before = told(chunk)
    chunk.targets[0, 5, 0] = (chunk.targets[0, 5, 0] + 1) % 3
    other = told(chunk)
    chunk.targets[0, 5, 0] = NO_CLASS
    missing = told(chunk)
    assert other.prediction != before.prediction
    assert other.reconstruction == before.reconstruction
    assert missing.predicted == before.predicted - 1
    assert missing.prediction < min(before.prediction, other.prediction)


@pytest.mark.parametrize("head", ["location", "log_scale", "rebuilt"])
def test_each_output_of_the_network_moves_its_own_term_alone(chunk: Chunk, head: str) -> None:
    network = Network(SMALL, torch.Generator().manual_seed(0)).eval()
    prediction, rebuilt, _ = network(chunk.inputs)
    before = losses(prediction, rebuilt, chunk)
    if head == "rebuilt":
        rebuilt = rebuilt + 0.5
    else:
        prediction = prediction._replace(**{head: getattr(prediction, head) + 0.5})
    after = losses(prediction, rebuilt, chunk)
    assert (after.prediction != before.prediction) == (head != "rebuilt")
    assert (after.reconstruction != before.reconstruction) == (head == "rebuilt")


def test_nothing_to_predict_is_a_loss_of_zero() -> None:
    nothing = torch.zeros(())
    assert np.allclose([float(mean) for mean in Loss(nothing, nothing, nothing, nothing).means()], 0.0)
