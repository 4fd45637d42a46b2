"""A head of the network as the daemon runs it: no gradients, no allocation.

A head's last product is a few columns wide, and for those the matrix library takes several times as long as for sixteen:
every product is filled up to whole vectors. A row's bits depend on no other row, as in `lstm`.

Shapes: M rows of the network, I inputs, O outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

LANES = 16
"""Columns of a product are a multiple of these: floats in a vector of 512 bits."""


class Layer(NamedTuple):
    """One product, and where its result goes."""

    weights: Tensor
    """[I, O, padded]"""
    bias: Tensor
    """[O, padded]"""
    out: Tensor
    """[most rows, O, padded]"""


class Head:
    """Dense layers with rectifiers between, for at most so many rows at once. It has buffers, so one thread uses it."""

    def __init__(self, dense: nn.Sequential, most_rows: int) -> None:
        self._layers: list[Layer] = []
        for linear in (layer for layer in dense if isinstance(layer, nn.Linear)):
            inputs = len(self._layers[-1].bias) if self._layers else linear.in_features
            self._layers.append(_layer(linear, inputs, most_rows))

    def __call__(self, x_MI: Tensor) -> Tensor:
        """[M, O, padded]: a buffer, which the next call writes to."""
        first, *more = self._layers
        out_MO = _product(first, x_MI)
        for layer in more:
            out_MO = _product(layer, out_MO.relu_())
        return out_MO


def _product(layer: Layer, x_MI: Tensor) -> Tensor:
    return torch.addmm(layer.bias, x_MI, layer.weights, out=layer.out[: len(x_MI)])


def _layer(linear: nn.Linear, inputs: int, most_rows: int) -> Layer:
    outputs = linear.out_features + -linear.out_features % LANES
    weights = linear.weight.new_zeros(inputs, outputs, requires_grad=False)
    weights[: linear.in_features, : linear.out_features] = linear.weight.detach().T
    bias = weights.new_zeros(outputs)
    bias[: linear.out_features] = linear.bias.detach()
    return Layer(weights, bias, weights.new_zeros(most_rows, outputs))
