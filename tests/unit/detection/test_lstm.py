"""The LSTM's step as the daemon runs it, compared with its equations and with itself in batches of other sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from anomaly_daemon.detection.lstm import Lstm
from anomaly_daemon.detection.network import Cell, Network, NetworkConfig, State


def made(layers: int = 1, hidden: int = 50) -> Network:
    config = NetworkConfig(cell=Cell.LSTM, layers=layers, hidden=hidden, values=3)
    network = Network(config, torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():
        for number, bias in enumerate(p for name, p in network.recurrent.named_parameters() if "bias" in name):
            bias.add_(0.1 * torch.randn(bias.shape, generator=torch.Generator().manual_seed(number)))
    return network


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stepped(
    network: Network, x: Tensor, hidden: Tensor, cell: Tensor, most: int | None = None
) -> tuple[Tensor, Tensor]:
    hidden, cell = hidden.clone(), cell.clone()
    with torch.inference_mode():
        Lstm(network, most or len(x)).step(x, hidden, cell)
    return hidden, cell


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def test_a_step_equals_the_gate_equations_in_float64() -> None:
    network = made()
    x, h, c = drawn(2, 5, network.config.inputs), drawn(3, 5, 1, 1, 50), drawn(4, 5, 1, 1, 50)
    hidden, cell = stepped(network, x, h, c)
    weights = {name: p.detach().double().numpy() for name, p in network.recurrent.named_parameters()}
    pre = x.double().numpy() @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
    pre += h[:, 0, 0].double().numpy() @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
    let_in, kept, candidate, let_out = np.split(pre, 4, axis=1)
    expected = sigmoid(kept) * c[:, 0, 0].double().numpy() + sigmoid(let_in) * np.tanh(candidate)
    np.testing.assert_allclose(cell[:, 0, 0].numpy(), expected, atol=2e-6)
    np.testing.assert_allclose(hidden[:, 0, 0].numpy(), sigmoid(let_out) * np.tanh(expected), atol=2e-6)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("groups", [1, 3])
def test_it_steps_as_the_network_that_was_trained(layers: int, groups: int) -> None:
    network, rows = made(layers), 20 * groups
    x, h, c = drawn(2, rows, network.config.inputs), drawn(3, 20, groups, layers, 50), drawn(4, 20, groups, layers, 50)
    hidden, cell = stepped(network, x, h, c)
    with torch.no_grad():
        after = network.step(x, State(*(part.flatten(0, 1).transpose(0, 1).contiguous() for part in (h, c))))
    torch.testing.assert_close(hidden.flatten(0, 1).transpose(0, 1), after.hidden, atol=2e-6, rtol=0)
    torch.testing.assert_close(cell.flatten(0, 1).transpose(0, 1), after.cell, atol=2e-6, rtol=0)


@pytest.mark.parametrize("hidden", [50, 64])
def test_a_row_has_the_same_bits_in_a_batch_of_any_size_and_place(hidden: int) -> None:
    network = made(2, hidden)
    x, h, c = drawn(2, 1024, network.config.inputs), drawn(3, 1024, 1, 2, hidden), drawn(4, 1024, 1, 2, hidden)
    whole = stepped(network, x, h, c)
    for size in (1, 2, 3, 7, 8, 9, 15, 31, 64, 257, 1000):
        for start in (0, 13, 1024 - size):
            part = slice(start, start + size)
            alone = stepped(network, x[part], h[part], c[part], most=1024)
            assert all(torch.equal(one, all_of[part]) for one, all_of in zip(alone, whole, strict=True)), (size, start)


def test_what_an_earlier_and_larger_batch_left_behind_changes_nothing() -> None:
    network = made()
    x, h, c = drawn(2, 40, network.config.inputs), drawn(3, 40, 1, 1, 50), drawn(4, 40, 1, 1, 50)
    alone = stepped(network, x[:3], h[:3], c[:3])
    lstm, hidden, cell = Lstm(network, 40), h[:3].clone(), c[:3].clone()
    with torch.inference_mode():
        lstm.step(1e6 * x, h.clone(), c.clone())
        lstm.step(x[:3], hidden, cell)
    assert torch.equal(hidden, alone[0])
    assert torch.equal(cell, alone[1])


def test_gates_far_out_saturate() -> None:
    network = made()
    hidden, cell = stepped(
        network, 1e30 * drawn(2, 9, network.config.inputs), drawn(3, 9, 1, 1, 50), drawn(4, 9, 1, 1, 50)
    )
    assert torch.isfinite(cell).all()
    assert (hidden.abs() <= 1).all()
