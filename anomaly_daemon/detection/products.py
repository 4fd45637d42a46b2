"""Matrix products of the network: by torch's matrix library, or on the CPU by oneDNN, which comes with torch too.

On processors with vectors of 512 bits oneDNN is up to twice as fast where that library is one for others. It is asked by
names that torch keeps for itself. So it is used where it is there, and where of products of this size it gives the same
bits as the library, whatever the number of rows: then scores do not depend on who multiplies (law L5). It makes code for
each number of rows, which takes longer than the product, and for few it is slower: so it multiplies whole blocks of rows.

Shapes: M rows of the network, I inputs, O outputs.
"""

from __future__ import annotations

from functools import cache
from math import prod

import torch
from torch import Tensor

BLOCK = 64
"""Rows that are multiplied at once by oneDNN: a multiple of these. Fewer are left to the library."""

MOST_BLOCKS = 16
"""As many as are tried beforehand, and multiplied so. A tile has more only where one stream does (`placement`)."""


class Product:
    """A matrix product and a bias, for at most so many rows at once. It has a buffer, so one thread uses it."""

    def __init__(self, weights_IO: Tensor, bias_O: Tensor, most_rows: int) -> None:
        self._weights, self._bias = weights_IO, bias_O
        self._out = weights_IO.new_zeros(most_rows, len(bias_O))
        self.blocks = weights_IO.device.type == "cpu" and usable(*weights_IO.shape)
        """Whether whole blocks of rows are faster than other numbers of them."""
        self._packed = _packed(weights_IO) if self.blocks else weights_IO

    def __call__(self, x_MI: Tensor) -> Tensor:
        """[M, O]: until the next call, which may write there."""
        if self.blocks and len(x_MI) % BLOCK == 0 and len(x_MI) <= MOST_BLOCKS * BLOCK:
            return _by_onednn(x_MI, self._packed, self._bias)
        return torch.addmm(self._bias, x_MI, self._weights, out=self._out[: len(x_MI)])


def whole(rows: int) -> int:
    """So many rows filled up to whole blocks, where there are enough for one."""
    return rows + -rows % BLOCK if rows >= BLOCK else rows


@cache
def usable(inputs: int, outputs: int) -> bool:
    """Whether oneDNN is there, and gives the library's bits for products of this size."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    rows = MOST_BLOCKS * BLOCK
    x_MI, weights_IO, bias_O = _numbers(rows, inputs), _numbers(inputs, outputs), _numbers(outputs)
    told_MO = torch.addmm(bias_O, x_MI, weights_IO)
    try:
        packed, tried = _packed(weights_IO), range(BLOCK, rows + 1, BLOCK)
        return all(torch.equal(_by_onednn(x_MI[:some], packed, bias_O), told_MO[:some]) for some in tried)
    except (AttributeError, RuntimeError, TypeError):  # another torch: by another name, or with other arguments
        return False


def _numbers(*size: int) -> Tensor:
    """Between -1 and 1, in no order that a sum would gain by."""
    return torch.arange(prod(size), dtype=torch.float64).square().mul(0.7).sin().float().view(size)


def _packed(weights_IO: Tensor) -> Tensor:
    """In the order that oneDNN reads it in."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weights_IO.T.contiguous(), BLOCK)
    return packed


def _by_onednn(x_MI: Tensor, packed: Tensor, bias_O: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x_MI, packed, bias_O, "none", [], "")
    return found
