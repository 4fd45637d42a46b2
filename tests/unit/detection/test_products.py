"""Matrix products by oneDNN and by torch's matrix library."""

from __future__ import annotations

import pytest
import torch

from anomaly_daemon.detection import products
from anomaly_daemon.detection.placement import TILE_ROWS
from anomaly_daemon.detection.products import BLOCK, MOST_BLOCKS, Product, usable, whole

SIZES = [(76, 256), (72, 64), (64, 16), (10, 32), (140, 800), (200, 224)]


def product(
    inputs: int, outputs: int, rows: int = 4 * BLOCK
) -> tuple[Product, torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(1)
    x, weights = torch.randn(rows, inputs, generator=made), torch.randn(inputs, outputs, generator=made)
    bias = torch.randn(outputs, generator=made)
    return Product(weights, bias, rows), x, weights, bias


@pytest.mark.parametrize("size", SIZES)
def test_a_row_has_the_same_bits_among_any_number_of_rows(size: tuple[int, int]) -> None:
    """This holds for sizes of whole blocks, which oneDNN may multiply, and for others, which it does not multiply (law
    L5)."""
    multiply, x, weights, bias = product(*size)
    told = torch.addmm(bias, x, weights)
    for rows in (8, 9, 63, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK - 1, 4 * BLOCK):
        assert torch.equal(multiply(x[:rows]), told[:rows]), rows


def test_rows_may_stand_apart() -> None:
    """A layer's inputs are such rows, because the buffer holds other columns beside them."""
    multiply, x, weights, bias = product(76, 256)
    wider = torch.full((len(x), 80), torch.nan)
    wider[:, :76] = x
    assert torch.equal(multiply(wider[: 2 * BLOCK, :76]), torch.addmm(bias, x, weights)[: 2 * BLOCK])


def test_whole_blocks_are_multiplied_by_onednn_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    by_onednn = products._by_onednn
    monkeypatch.setattr(products, "_by_onednn", lambda x, *more: asked.append(len(x)) or by_onednn(x, *more))
    most = MOST_BLOCKS * BLOCK
    multiply, x, *_ = product(76, 256, most + BLOCK)
    asked.clear()
    for rows in (8, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, most, most + BLOCK):  # the last was not tried beforehand
        multiply(x[:rows])
    assert asked == ([BLOCK, 2 * BLOCK, most] if usable(76, 256) else [])


@pytest.fixture
def anew() -> None:
    usable.cache_clear()


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("trouble", [AttributeError("no such name"), RuntimeError("other arguments"), None])
def test_without_it_or_with_other_bits_the_library_multiplies(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception | None
) -> None:
    def otherwise(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        if trouble is not None:
            raise trouble
        return torch.zeros(len(x), len(bias))

    monkeypatch.setattr(products, "_by_onednn", otherwise)
    multiply, x, weights, bias = product(33, 48)
    assert not multiply.blocks
    assert torch.equal(multiply(x), torch.addmm(bias, x, weights))
    usable.cache_clear()


@pytest.mark.parametrize(("rows", "filled"), [(8, 8), (63, 63), (64, 64), (65, 128), (1000, 1024), (1024, 1024)])
def test_rows_are_filled_up_to_whole_blocks_where_there_are_enough(rows: int, filled: int) -> None:
    assert whole(rows) == filled


def test_as_many_blocks_are_tried_as_a_tile_may_have() -> None:
    assert whole(TILE_ROWS) == BLOCK * MOST_BLOCKS
