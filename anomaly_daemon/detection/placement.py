"""The device on which the network runs. The streams' states and statistics stay in the slab, in main memory, on any
device."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor

from anomaly_daemon.detection.lstm import MINIMUM_ROWS
from anomaly_daemon.detection.network import Network

TILE_ROWS = 1024
"""Network rows that go through the network together: few enough that intermediate results stay in a processor's cache.
"""

TILE_ROWS_APART = 8192
"""The same for another device, where the transfer costs more than the rows do."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A torch device. On the CPU the network works in the slab's own rows."""

    device: str = "cpu"
    apart: bool = False
    """Whether rows are copied to the device and back. They then always fill a whole tile, because a GPU's libraries
    choose another kernel, with other bits, for another number of rows. The same number of rows gets the same kernel,
    whatever the rows hold (law L5)."""

    @classmethod
    def of(cls, device: str) -> Placement:
        return cls(device, apart=device != "cpu")

    @property
    def tile_rows(self) -> int:
        return TILE_ROWS_APART if self.apart else TILE_ROWS

    def least_rows(self, most: int) -> int:
        """Return the number of rows that smaller batches are padded to, where there are at most `most`."""
        return max(most, MINIMUM_ROWS) if self.apart else MINIMUM_ROWS

    def network(self, network: Network) -> Network:
        """Return the network on the device: a copy, or on the CPU the network itself."""
        return deepcopy(network).to(self.device) if self.apart else network

    def there(self, rows: Tensor) -> Tensor:
        """Return these rows on the device: a copy, or on the CPU the rows themselves."""
        return rows.to(self.device, copy=True) if self.apart else rows

    def here(self, there: Tensor) -> Tensor:
        """Return rows of the device in main memory: a copy, or on the CPU the rows themselves."""
        return there.cpu() if self.apart else there

    def back(self, rows: Tensor, there: Tensor) -> None:
        """Copy rows that were changed on the device back to `rows`; on the CPU they are the same rows."""
        if self.apart:
            rows.copy_(there)
