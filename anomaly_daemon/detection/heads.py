"""A head of the network as the daemon runs it: no gradients.

A head's last product is a few columns wide, and for those the matrix library takes several times as long as for sixteen:
every product is filled up to whole vectors. A row's bits depend on no other row, as in `lstm`.

Shapes: M rows of the network, I inputs, O outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from anomaly_daemon.detection.products import Product

LANES = 16
"""Columns of a product are a multiple of these: floats in a vector of 512 bits."""


class Head:
    """Dense layers with rectifiers between, for at most so many rows at once. It has buffers, so one thread uses it."""

    def __init__(self, dense: nn.Sequential, most_rows: int) -> None:
        self._products: list[Product] = []
        inputs = 0
        for linear in (layer for layer in dense if isinstance(layer, nn.Linear)):
            weights, bias = _filled_up(linear, inputs or linear.in_features)
            self._products.append(Product(weights, bias, most_rows))
            inputs = len(bias)

    @property
    def blocks(self) -> bool:
        """Whether whole blocks of rows are faster."""
        return all(product.blocks for product in self._products)

    def __call__(self, x_MI: Tensor) -> Tensor:
        """[M, O, padded]: until the next call, which may write there."""
        first, *more = self._products
        out_MO = first(x_MI)
        for product in more:
            out_MO = product(out_MO.relu_())
        return out_MO


def _filled_up(linear: nn.Linear, inputs: int) -> tuple[Tensor, Tensor]:
    """Weights [I, O, padded] and bias of so many inputs, those of them that are padding too."""
    outputs = linear.out_features + -linear.out_features % LANES
    weights = linear.weight.new_zeros(inputs, outputs, requires_grad=False)
    weights[: linear.in_features, : linear.out_features] = linear.weight.detach().T
    bias = weights.new_zeros(outputs)
    bias[: linear.out_features] = linear.bias.detach()
    return weights, bias
