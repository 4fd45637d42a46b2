"""A head of the network as the daemon runs it, without gradients.

The last product of a head has only a few columns, and for those the matrix library takes several times as long as for
sixteen. Every product is therefore padded to whole vectors. The bits of a row depend on no other row, as in `lstm`.

Shapes: M rows of the network, I inputs, O outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from anomaly_daemon.detection.products import Product

LANES = 16
"""The number of columns of a product is a multiple of this: the floats in a 512-bit vector."""


class Head:
    """Dense layers with rectifiers between them, for at most `most_rows` rows at once. It has buffers, so only one
    thread may use it."""

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
        """Return the outputs, [M, O, padded]. They are valid until the next call, which may overwrite them."""
        first, *more = self._products
        out_MO = first(x_MI)
        for product in more:
            out_MO = product(out_MO.relu_())
        return out_MO


def _filled_up(linear: nn.Linear, inputs: int) -> tuple[Tensor, Tensor]:
    """Return weights [I, O, padded] and bias for this many inputs, which may include padding."""
    outputs = linear.out_features + -linear.out_features % LANES
    weights = linear.weight.new_zeros(inputs, outputs, requires_grad=False)
    weights[: linear.in_features, : linear.out_features] = linear.weight.detach().T
    bias = weights.new_zeros(outputs)
    bias[: linear.out_features] = linear.bias.detach()
    return weights, bias
