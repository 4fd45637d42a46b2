"""The gates of an LSTM, as compiled code over the rows that carry its state. One pass, while the data is in the
processor's cache, turns the matrix product of inputs and state into the state after the event.

A gate is 1 / (1 + E(x)) with E(x) = exp(-x), and the candidate is (1 - E(2x)) / (1 + E(2x)). The exponential is a
polynomial, so that a loop over the units is vectorised, and each unit has the same bits however many units there are
(law L5): no operations are fused, and no sum is taken in another order.

Shapes: B streams, G network rows a stream, M = B x G rows, L layers, H units, N >= 4H columns, P carried numbers of a
row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anomaly_daemon.compiled import compiled
from anomaly_daemon.detection.observation import Float32
from anomaly_daemon.detection.state import StateLayout

ONE, LOG2_E = np.float32(1.0), np.float32(1.4426950408889634)
MOST = np.float32(60.0)
"""The largest exponent to base 2, of either sign: the product of two exponentials is still finite, and beyond it
a gate is open or shut to the last digit of what it lets through."""

NEAREST = np.float32(1.5 * 2**23)
"""Added to a smaller number, this leaves the nearest integer in the lowest bits."""

EXPONENT = np.int32(23)
"""The position of the exponent in the bits of a float32."""

C1, C2, C3, C4, C5 = (np.float32(each) for each in (0.693147, 0.24022242, 0.055507336, 0.009671513, 0.0013264727))
"""Coefficients of a polynomial for 2**x - 1 with x within half of 0. The error is 1e-7 of the power, and none at 0,
where the power is 1."""


class At(NamedTuple):
    """The places of the network's state in a row, [G, L, H] each."""

    hidden: int
    cell: int


def at(layout: StateLayout) -> At:
    """Return the places of the network's state in rows of this layout."""
    return At(layout.start("hidden"), layout.start("cell"))


@compiled
def look(carried_BP: Float32, start: int, groups: int, stride: int, units: int, out_MI: Float32, column: int) -> None:
    """Copy `units` numbers of each network row, the first of them at `start`, to `out_MI` from `column` on. `stride`:
    the distance from one network row of a stream to the next."""
    for b in range(len(carried_BP)):
        for g in range(groups):
            here_H = carried_BP[b, start + g * stride : start + g * stride + units]
            there_H = out_MI[b * groups + g, column : column + units]
            for u in range(units):
                there_H[u] = here_H[u]


@compiled
def move_on(gates_MN: Float32, carried_BP: Float32, at: At, groups: int, stride: int, units: int) -> None:
    """Replace hidden and cell state of each network row, which are at `at`, by the state after the event. The gates are
    in torch's order: input, forget, candidate, output; the candidate is doubled. The contents of `gates_MN` are
    overwritten."""
    for b in range(len(carried_BP)):
        for g in range(groups):
            m, here = b * groups + g, g * stride
            hidden_H = carried_BP[b, at.hidden + here : at.hidden + here + units]
            cell_H = carried_BP[b, at.cell + here : at.cell + here + units]
            all_N = gates_MN[m, 0 : 4 * units]
            for n in range(4 * units):
                all_N[n] = _exp_minus(all_N[n])
            let_in_H, kept_H = gates_MN[m, 0:units], gates_MN[m, units : 2 * units]
            candidate_H, let_out_H = gates_MN[m, 2 * units : 3 * units], gates_MN[m, 3 * units : 4 * units]
            for u in range(units):
                came = (ONE - candidate_H[u]) / ((ONE + let_in_H[u]) * (ONE + candidate_H[u]))
                cell = cell_H[u] / (ONE + kept_H[u]) + came
                cell_H[u], decayed = cell, _exp_minus(cell + cell)
                hidden_H[u] = (ONE - decayed) / ((ONE + decayed) * (ONE + let_out_H[u]))


@compiled
def _exp_minus(x: np.float32) -> np.float32:
    """Return exp(-x) as a power of two: the integer part of the power becomes the exponent. NaN stays NaN."""
    power = -LOG2_E * x
    power = -MOST if power < -MOST else power
    power = MOST if power > MOST else power
    shifted = power + NEAREST
    rest = power - (shifted - NEAREST)
    square = rest * rest
    two = (ONE + C1 * rest) + square * ((C2 + C3 * rest) + square * (C4 + C5 * rest))
    whole = np.int32(np.float32(shifted).view(np.int32) << EXPONENT)
    return np.float32(np.int32(np.float32(two).view(np.int32) + whole).view(np.float32))
