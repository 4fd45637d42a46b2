"""The recurrent core compared with its equations, and the heads with what they are allowed to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomaly_daemon.detection.network import CONTEXT, Cell, Initialization, Inputs, Network, NetworkConfig, State


def made(cell: Cell = Cell.LSTM, layers: int = 1, **more: object) -> Network:
    config = NetworkConfig(cell=cell, layers=layers, hidden=50, values=3, classes=(4,), **more)  # type: ignore[arg-type]
    return Network(config, torch.Generator().manual_seed(1)).eval()


def inputs(rows: int = 5, events: int = 7) -> Inputs:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(rows, events, 3, generator=generator)
    context = torch.randn(rows, events, CONTEXT, generator=generator)
    return Inputs(values, torch.ones_like(values), context, torch.randint(0, 4, (rows, events, 1), generator=generator))


def at(sequence: Inputs, event: int) -> Inputs:
    return Inputs(*(part[:, event] for part in sequence))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def test_an_lstm_step_equals_the_gate_equations_in_float64() -> None:
    network = made()
    x = network.embed(at(inputs(), 0)).detach()
    h = torch.randn(1, 5, 50, generator=torch.Generator().manual_seed(4))
    c = torch.randn(1, 5, 50, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        after = network.step(x, State(h, c))
    weights = {name: p.detach().double().numpy() for name, p in network.recurrent.named_parameters()}
    pre = x.double().numpy() @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
    pre += h[0].double().numpy() @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
    input_gate, forget_gate, candidate, output_gate = np.split(pre, 4, axis=1)
    cell = sigmoid(forget_gate) * c[0].double().numpy() + sigmoid(input_gate) * np.tanh(candidate)
    hidden = sigmoid(output_gate) * np.tanh(cell)
    np.testing.assert_allclose(after.cell[0].numpy(), cell, atol=2e-6)
    np.testing.assert_allclose(after.hidden[0].numpy(), hidden, atol=2e-6)


def test_an_rnn_step_equals_its_equation_in_float64() -> None:
    network = made(Cell.RNN)
    x = network.embed(at(inputs(), 0)).detach()
    h = torch.randn(1, 5, 50, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        after = network.step(x, State(h, h[:0]))
    weights = {name: p.detach().double().numpy() for name, p in network.recurrent.named_parameters()}
    pre = x.double().numpy() @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
    pre += h[0].double().numpy() @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
    np.testing.assert_allclose(after.hidden[0].numpy(), np.tanh(pre), atol=2e-6)


@pytest.mark.parametrize("cell", Cell)
@pytest.mark.parametrize("layers", [1, 2])
def test_stepping_through_a_sequence_equals_the_whole_sequence(cell: Cell, layers: int) -> None:
    network, sequence = made(cell, layers), inputs()
    with torch.no_grad():
        prediction, rebuilt, last = network(sequence)
        state, latest = network.initial_state(5), torch.zeros_like(sequence.values[:, 0])
        for event in range(7):
            now = at(sequence, event)
            stepped = network.predict(state.hidden[-1], now.context, latest)
            torch.testing.assert_close(stepped.location, prediction.location[:, event], atol=1e-5, rtol=0)
            torch.testing.assert_close(stepped.log_scale, prediction.log_scale[:, event], atol=1e-5, rtol=0)
            torch.testing.assert_close(stepped.logits[0], prediction.logits[0][:, event], atol=1e-5, rtol=0)
            state = network.step(network.embed(now), state)
            torch.testing.assert_close(network.reconstruct(state.hidden[-1]), rebuilt[:, event], atol=1e-5, rtol=0)
            latest = now.values
    torch.testing.assert_close(state.hidden, last.hidden, atol=1e-5, rtol=0)


def test_a_prediction_does_not_see_the_value_it_predicts() -> None:
    network, sequence = made(), inputs()
    moved = sequence._replace(values=sequence.values.clone())
    moved.values[:, 4] += 1.0
    with torch.no_grad():
        before, rebuilt_before, _ = network(sequence)
        after, rebuilt_after, _ = network(moved)
    assert torch.equal(before.location[:, :5], after.location[:, :5])
    assert not torch.allclose(before.location[:, 5], after.location[:, 5])
    assert not torch.allclose(rebuilt_before[:, 4], rebuilt_after[:, 4])


@pytest.mark.parametrize("part", ["values", "mask", "context", "classes"])
def test_every_input_reaches_the_state(part: str) -> None:
    network, now = made(), at(inputs(), 0)
    changed = 3 - getattr(now, part) if part == "classes" else getattr(now, part) + 0.5
    moved = now._replace(**{part: changed})
    with torch.no_grad():
        before = network.step(network.embed(now), network.initial_state(5))
        after = network.step(network.embed(moved), network.initial_state(5))
    assert not torch.allclose(before.hidden, after.hidden)


def test_the_forget_gate_starts_with_a_bias_of_one() -> None:
    network = made(layers=2)
    for layer in range(2):
        total = getattr(network.recurrent, f"bias_ih_l{layer}") + getattr(network.recurrent, f"bias_hh_l{layer}")
        gates = total.detach().split(50)
        assert torch.equal(gates[1], torch.ones(50))
        assert all(torch.equal(gates[place], torch.zeros(50)) for place in (0, 2, 3))


def test_orthogonal_initialization_gives_orthogonal_gates() -> None:
    recurrent = made().recurrent.weight_hh_l0.detach()
    for gate in recurrent.split(50):
        torch.testing.assert_close(gate @ gate.T, torch.eye(50), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("how", "bound"), [(Initialization.GLOROT, (6 / 100) ** 0.5), (Initialization.HE, (6 / 50) ** 0.5)]
)
def test_glorot_and_he_fill_their_range(how: Initialization, bound: float) -> None:
    weight = made(initialization=how).recurrent.weight_hh_l0.detach().abs()
    assert 0.95 * bound < float(weight.max()) <= bound


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = made().state_dict(), made().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_row_has_the_same_bits_in_any_batch_of_eight_or_more() -> None:
    network, sequence = made(), inputs(rows=600, events=1)
    now = at(sequence, 0)
    with torch.inference_mode():
        whole = network.step(network.embed(now), network.initial_state(600)).hidden
        for size in (8, 9, 15, 64, 257):
            part = Inputs(*(column[100 : 100 + size] for column in now))
            alone = network.step(network.embed(part), network.initial_state(size)).hidden
            assert torch.equal(alone[0], whole[0, 100 : 100 + size])


def test_an_untrained_network_predicts_the_latest_value() -> None:
    network, sequence = made(), inputs()
    with torch.no_grad():
        location = network(sequence)[0].location
        continued = network(sequence, None, sequence.values[:, 3])[0].location
    torch.testing.assert_close(location[:, 1:], sequence.values[:, :-1], atol=0.1, rtol=0)
    torch.testing.assert_close(continued[:, 0], sequence.values[:, 3], atol=0.1, rtol=0)
