"""The LSTM's gates as compiled code: they follow their equations, and a number has the same bits alone and among
others."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_daemon.detection.gates import At, look, move_on

CARRIED = At(hidden=3, cell=300)
WIDTH = 700


def drawn(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def moved(
    gates_MN: np.ndarray, carried_BP: np.ndarray, units: int, groups: int = 1, stride: int | None = None
) -> np.ndarray:
    """Return the rows' state after these gates."""
    after_BP = carried_BP.copy()
    move_on(gates_MN.copy(), after_BP, CARRIED, groups, stride or units, units)
    return after_BP


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
@pytest.mark.parametrize(("units", "groups", "stride"), [(5, 1, 5), (64, 3, 64), (50, 2, 100)])
def test_it_is_the_gate_equations_in_float64(scale: float, units: int, groups: int, stride: int) -> None:
    gates_MN, carried_BP = drawn(1, 4 * groups, 4 * units + 7, scale=scale), drawn(2, 4, WIDTH, scale=scale)
    after_BP = moved(gates_MN, carried_BP, units, groups, stride)
    places = np.add.outer(stride * np.arange(groups), np.arange(units)).ravel()
    let_in, kept, candidate, let_out = (
        gates_MN[:, k * units : (k + 1) * units].reshape(4, -1).astype(np.float64) for k in range(4)
    )
    cell = sigmoid(kept) * carried_BP[:, CARRIED.cell + places] + sigmoid(let_in) * np.tanh(candidate / 2)
    np.testing.assert_allclose(after_BP[:, CARRIED.cell + places], cell, atol=5e-7 * max(1.0, scale))
    np.testing.assert_allclose(after_BP[:, CARRIED.hidden + places], sigmoid(let_out) * np.tanh(cell), atol=5e-7)
    elsewhere = np.setdiff1d(np.arange(WIDTH), np.r_[CARRIED.cell + places, CARRIED.hidden + places])
    np.testing.assert_array_equal(after_BP[:, elsewhere], carried_BP[:, elsewhere])


def test_what_is_0_stays_0() -> None:
    after_BP = moved(np.zeros((1, 20), np.float32), np.zeros((1, WIDTH), np.float32), 5)
    assert not after_BP.any()


@pytest.mark.parametrize("size", [1e2, 1e10, 3e38])
def test_far_out_they_are_open_or_shut(size: float) -> None:
    signs = np.array([[(-1) ** (unit >> gate & 1) for unit in range(16)] for gate in range(4)], np.float32)
    after_BP = moved((size * signs).reshape(1, 64).astype(np.float32), np.ones((1, WIDTH), np.float32), 16)
    let_in, kept, candidate, let_out = (signs > 0).astype(float)
    cell = kept + let_in * (2 * candidate - 1)
    np.testing.assert_allclose(after_BP[0, CARRIED.cell : CARRIED.cell + 16], cell, atol=1e-6)
    np.testing.assert_allclose(after_BP[0, CARRIED.hidden : CARRIED.hidden + 16], let_out * np.tanh(cell), atol=1e-6)


@pytest.mark.parametrize("gate", range(4))
@pytest.mark.parametrize("nothing", [np.nan, -np.nan])
def test_what_is_no_number_is_no_open_or_shut_gate(gate: int, nothing: float) -> None:
    """The result is not a number from then on, in this unit and no other."""
    gates_MN, carried_BP = drawn(1, 1, 4 * 20), drawn(2, 1, WIDTH)
    whole_BP = moved(gates_MN, carried_BP, 20)
    gates_MN[0, 20 * gate + 7] = nothing
    after_BP = moved(gates_MN, carried_BP, 20)
    wrong = np.flatnonzero(np.isnan(after_BP[0])).tolist()
    of_the_cell = [CARRIED.cell + 7] if gate < 3 else []
    assert wrong == [CARRIED.hidden + 7, *of_the_cell]
    np.testing.assert_array_equal(np.delete(after_BP, wrong), np.delete(whole_BP, wrong))


def test_a_cell_that_is_no_number_stays_none() -> None:
    carried_BP = drawn(2, 1, WIDTH)
    carried_BP[0, CARRIED.cell + 3] = np.nan
    after_BP = moved(drawn(1, 1, 40), carried_BP, 10)
    assert np.flatnonzero(np.isnan(after_BP[0])).tolist() == [CARRIED.hidden + 3, CARRIED.cell + 3]


def test_a_unit_has_the_same_bits_alone_and_among_any_others() -> None:
    gates_MN, carried_BP = drawn(1, 1, 4 * 67), drawn(2, 1, WIDTH)
    whole_BP = moved(gates_MN, carried_BP, 67)
    for unit in range(67):
        alone_BP = carried_BP.copy()
        alone_BP[:, CARRIED.cell] = carried_BP[:, CARRIED.cell + unit]
        alone_BP = moved(np.ascontiguousarray(gates_MN[:, unit::67]), alone_BP, 1)
        for start in CARRIED:
            assert alone_BP[0, start].tobytes() == whole_BP[0, start + unit].tobytes()


def test_a_state_is_brought_where_it_is_read() -> None:
    carried_BP, out_MI = drawn(1, 3, WIDTH), np.zeros((6, 12), np.float32)
    look(carried_BP, 5, 2, 40, 10, out_MI, 1)
    np.testing.assert_array_equal(out_MI[:, 1:11].reshape(3, 2, 10)[:, 1], carried_BP[:, 45:55])
    np.testing.assert_array_equal(out_MI[:, 1:11].reshape(3, 2, 10)[:, 0], carried_BP[:, 5:15])
    assert not out_MI[:, [0, 11]].any()
