"""A head as the daemon runs it, compared with the network's own head and with itself in batches of other sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anomaly_daemon.detection.heads import Head
from anomaly_daemon.detection.network import Network, NetworkConfig

MOST = 1024


def made(*widths: int) -> Network:
    config = NetworkConfig(hidden=50, head=widths, values=3, classes=(4, 2))
    return Network(config, torch.Generator().manual_seed(1)).eval()


def drawn(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("widths", [(), (64,), (30, 17)])
def test_it_says_what_the_network_that_was_trained_says(widths: tuple[int, ...]) -> None:
    network, x = made(*widths), drawn(40, 50)
    with torch.inference_mode():
        said, expected = Head(network.reconstruction, MOST)(x), network.reconstruction(x)
    torch.testing.assert_close(said[:, : expected.shape[1]], expected, atol=2e-6, rtol=0)


def test_every_output_has_its_bias() -> None:
    network, x = made(30), drawn(9, 50)
    with torch.no_grad():
        for layer in (network.reconstruction[0], network.reconstruction[2]):
            layer.bias.add_(torch.arange(len(layer.bias)))
    with torch.inference_mode():
        said, expected = Head(network.reconstruction, MOST)(x), network.reconstruction(x)
    torch.testing.assert_close(said[:, : expected.shape[1]], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("widths", [(), (64,), (30, 17)])
def test_a_row_has_the_same_bits_in_a_batch_of_any_size_and_place(widths: tuple[int, ...]) -> None:
    head, x = Head(made(*widths).reconstruction, MOST), drawn(MOST, 50)
    with torch.inference_mode():
        whole = head(x).clone()
        for size in (8, 9, 15, 31, 64, 257, 1000):
            for start in (0, 13, MOST - size):
                assert torch.equal(head(x[start : start + size]), whole[start : start + size]), (size, start)
