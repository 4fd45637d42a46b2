"""Matrix products of the network: by torch's matrix library or, on the CPU, by oneDNN, which also comes with torch.

On processors with vectors of 512 bits oneDNN is up to twice as fast where that library is one made for other
processors. oneDNN is called by names that are internal to torch. It is therefore used only where those names exist, and
where for products of this size it gives the same bits as the library for every number of rows. Then scores do not
depend on which of the two multiplies (law L5). oneDNN generates code for each number of rows, which takes longer than
the product, and it is slower for few rows. So it multiplies only whole blocks of rows.

Shapes: M rows of the network, I inputs, O outputs.
"""

from __future__ import annotations

from functools import cache
from math import prod

import torch
from torch import Tensor

BLOCK = 64
"""oneDNN multiplies a multiple of this many rows at once. Other numbers of rows are left to the library."""

MOST_BLOCKS = 16
"""The most blocks that are compared beforehand, and that oneDNN multiplies at once. A tile has more rows only where a
single stream does (`placement`)."""


class Product:
    """A matrix product and a bias, for at most `most_rows` rows at once. It owns a buffer, so only one thread may use
    it."""

    def __init__(self, weights_IO: Tensor, bias_O: Tensor, most_rows: int) -> None:
        self._weights, self._bias = weights_IO, bias_O
        self._out = weights_IO.new_zeros(most_rows, len(bias_O))
        self.blocks = weights_IO.device.type == "cpu" and usable(*weights_IO.shape)
        """Whether whole blocks of rows are faster than other numbers of them."""
        self._packed = _packed(weights_IO) if self.blocks else weights_IO

    def __call__(self, x_MI: Tensor) -> Tensor:
        """Return [M, O], which is valid until the next call, because that may overwrite it."""
        if self.blocks and len(x_MI) % BLOCK == 0 and len(x_MI) <= MOST_BLOCKS * BLOCK:
            return _by_onednn(x_MI, self._packed, self._bias)
        return torch.addmm(self._bias, x_MI, self._weights, out=self._out[: len(x_MI)])


def whole(rows: int) -> int:
    """Return a number of rows rounded up to whole blocks, if it is enough for one block; otherwise unchanged."""
    return rows + -rows % BLOCK if rows >= BLOCK else rows


@cache
def usable(inputs: int, outputs: int) -> bool:
    """Return whether oneDNN is available, and gives the library's bits for products of this size."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    rows = MOST_BLOCKS * BLOCK
    x_MI, weights_IO, bias_O = _numbers(rows, inputs), _numbers(inputs, outputs), _numbers(outputs)
    told_MO = torch.addmm(bias_O, x_MI, weights_IO)
    try:
        packed, tried = _packed(weights_IO), range(BLOCK, rows + 1, BLOCK)
        return all(torch.equal(_by_onednn(x_MI[:some], packed, bias_O), told_MO[:some]) for some in tried)
    except (AttributeError, RuntimeError, TypeError):  # another torch release: another name, or other arguments
        return False


def _numbers(*size: int) -> Tensor:
    """Return test numbers between -1 and 1, in no order that would make some way of summing them more exact."""
    return torch.arange(prod(size), dtype=torch.float64).square().mul(0.7).sin().float().view(size)


def _packed(weights_IO: Tensor) -> Tensor:
    """Return the weights in the order in which oneDNN reads them."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weights_IO.T.contiguous(), BLOCK)
    return packed


def _by_onednn(x_MI: Tensor, packed: Tensor, bias_O: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x_MI, packed, bias_O, "none", [], "")
    return found
