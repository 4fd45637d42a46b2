"""The LSTM step in torch, for any device (on the CPU `lstm_core` is used): no gradients, preallocated buffers, state
updated in place.

One matrix product gives all gates of a layer. Then every gate goes through the logistic function in one pass. The
candidate, tanh(x), is computed as 2 sigmoid(2x) - 1, because torch's sigmoid is several times faster than its tanh. Its
weights are doubled beforehand, which is exact, because 2 is a power of two.

The bits of a row depend on no other row (law L5). torch computes the last few elements of an array, which do not fill a
vector, by another code path, whose sigmoid gives other bits. The gates are therefore padded to whole vectors, and an
array that is not padded is never processed as one run over several rows. Nor is a product added to another number where
one path may fuse the two operations and the other may not; the only exceptions are factors that are powers of two.

Shapes: B streams, G network rows a stream, M = B x G rows, I inputs, L layers, H units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anomaly_daemon.detection.network import Network

MINIMUM_ROWS = 8
"""The least number of rows in a batch. Smaller batches are padded to it, because matrix products of fewer rows take
another code path and give other bits (law L5)."""

LANES = 32
"""The most floats that torch computes at once: two vectors of 512 bits."""

CANDIDATE = 2
"""The position of the candidate in torch's gate order: input, forget, candidate, output."""


class Layer(NamedTuple):
    """The weights of one layer for inputs and state together, and the buffer in which inputs and state are joined."""

    weights: Tensor
    """[I + H, 4H padded to whole vectors]"""
    bias: Tensor
    """[4H padded to whole vectors]"""
    joined: Tensor
    """[most rows, I + H]"""


class Lstm:
    """The recurrent core of a network, for at most `most_rows` rows at once. It owns buffers, so only one thread may
    use it."""

    def __init__(self, network: Network, most_rows: int, least_rows: int = MINIMUM_ROWS) -> None:
        """`least_rows`: smaller batches are padded to this many rows."""
        rows, self._least = max(most_rows, least_rows), least_rows
        self._layers = [layer_of(network, layer, rows) for layer in range(network.config.layers)]
        bias = self._layers[0].bias
        self._gates, self._minus_one = bias.new_zeros(rows, len(bias)), bias.new_tensor(-1.0)

    def step(self, x_MI: Tensor, hidden_BGLH: Tensor, cell_BGLH: Tensor) -> None:
        """Move `hidden` and `cell` of each row past one event, in place."""
        for place, layer in enumerate(self._layers):
            hidden_BGH, cell_BGH = hidden_BGLH[:, :, place], cell_BGLH[:, :, place]
            self._step(layer, x_MI, hidden_BGH, cell_BGH)
            x_MI = hidden_BGH.reshape(len(x_MI), -1)

    def _step(self, layer: Layer, x_MI: Tensor, hidden_BGH: Tensor, cell_BGH: Tensor) -> None:
        (rows, inputs), (streams, groups, units) = x_MI.shape, hidden_BGH.shape
        joined = layer.joined[: max(rows, self._least)]
        joined[:rows, :inputs] = x_MI
        joined[:rows, inputs:].view(streams, groups, units).copy_(hidden_BGH)
        gates = torch.addmm(layer.bias, joined, layer.weights, out=self._gates[: len(joined)]).sigmoid_()
        let_in, kept, candidate, let_out = gates[:rows, : 4 * units].view(streams, groups, 4, units).unbind(2)
        torch.add(self._minus_one, candidate, alpha=2.0, out=candidate).mul_(let_in)
        cell_BGH.mul_(kept).add_(candidate)
        doubled = torch.add(cell_BGH, cell_BGH, out=candidate).sigmoid_()
        squashed = torch.add(self._minus_one, doubled, alpha=2.0, out=candidate)
        torch.mul(squashed, let_out, out=hidden_BGH)


def layer_of(network: Network, layer: int, rows: int) -> Layer:
    """Return the weights of a layer, and a buffer for `rows` rows."""
    ih, hh, bias_ih, bias_hh = (weight.detach() for weight in network.weights(layer))
    weights, bias = torch.cat([ih, hh], dim=1), bias_ih + bias_hh
    for each in (weights, bias):
        each.view(4, network.config.hidden, -1)[CANDIDATE] *= 2.0
    padding = -len(bias) % LANES
    weights, bias = (torch.cat([each, each.new_zeros(padding, *each.shape[1:])]) for each in (weights, bias))
    return Layer(weights.T.contiguous(), bias, weights.new_zeros(rows, weights.shape[1]))
