"""Where the network runs. States and statistics stay in the slab, in main memory, wherever that is."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor

from anomaly_daemon.detection.lstm import MINIMUM_ROWS
from anomaly_daemon.detection.network import Network

TILE_ROWS = 1024
"""Network rows that go through the network together: what it makes of them on the way stays in a processor's cache."""

TILE_ROWS_APART = 8192
"""On another device the way there costs more than the rows do."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device of torch's. On the CPU the network works in the slab's own rows."""

    device: str = "cpu"
    apart: bool = False
    """Rows are copied there and back, and always fill a whole tile: a GPU's libraries choose another kernel for another
    number of rows, with other bits; so many rows, whatever they hold, get the same one (law L5)."""

    @classmethod
    def of(cls, device: str) -> Placement:
        return cls(device, apart=device != "cpu")

    @property
    def tile_rows(self) -> int:
        return TILE_ROWS_APART if self.apart else TILE_ROWS

    def least_rows(self, most: int) -> int:
        """What fewer rows are padded to, where at most so many come."""
        return max(most, MINIMUM_ROWS) if self.apart else MINIMUM_ROWS

    def network(self, network: Network) -> Network:
        """The network there."""
        return deepcopy(network).to(self.device) if self.apart else network

    def there(self, rows: Tensor) -> Tensor:
        """These rows there: a copy, or the rows themselves."""
        return rows.to(self.device, copy=True) if self.apart else rows

    def here(self, there: Tensor) -> Tensor:
        """These rows in main memory: a copy, or the rows themselves."""
        return there.cpu() if self.apart else there

    def back(self, rows: Tensor, there: Tensor) -> None:
        """What has become of rows that were taken there."""
        if self.apart:
            rows.copy_(there)
