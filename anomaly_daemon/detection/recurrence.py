"""The carried state of the network, moved past one event of each of B streams, or rebuilt from their recent events.

Some rows at a time go through the network, in buffers that stay in a processor's cache (a `Core` owns them). The state
before the event predicts the event. The state then moves past it, and the state after it rebuilds the recent events.

Shapes: B rows, D numeric and C categorical features, G network rows a stream (1 in the joint layout, D in the channel
layout), M = B x G network rows, V values a network row, W recent events kept, L layers, H units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.context import context
from anomaly_daemon.detection.errors import or_zero
from anomaly_daemon.detection.lstm_core import LstmCore
from anomaly_daemon.detection.network import Cell, Layout, Network
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.passage import Entering, Moment, Passed, at, remember, take
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.state import Column, Rows
from anomaly_daemon.detection.torch_core import TorchCore

RECENT_EVENTS = 16
"""The least number of a stream's last events that its row keeps, from which the state of another network is rebuilt
(law L9)."""


class Core(Protocol):
    """The network's computation for one event of some rows, step by step."""

    def enter(self, tile: Rows, entering: Entering) -> None: ...
    def predicted(self) -> Float32: ...
    def move_on(self, tile: Rows) -> None: ...
    def rebuilt(self, tile: Rows) -> Float32: ...


class Recurrence:
    """A network bound to a schema's categories and time zone. It holds no stream's state, which is in the rows.

    The weights are read at construction. It owns buffers, so only one thread may use it.
    """

    def __init__(
        self,
        network: Network,
        categories: Categories,
        timezone: str,
        numeric: int,
        placement: Placement = Placement(),  # noqa: B008 - frozen
    ) -> None:
        self.network, self._placement = placement.network(network), placement
        self._categories, self._timezone, self._numeric = categories, timezone, numeric
        config = network.config
        self.groups = numeric if config.layout is Layout.CHANNEL else 1
        self.kept = max(config.reconstruct, RECENT_EVENTS)
        self._together = max(1, placement.tile_rows // max(1, self.groups))
        most = self._together * self.groups
        if config.cell is Cell.LSTM and not placement.apart:
            self._core: Core = LstmCore(self.network, self.groups, most, placement.least_rows(most))
        else:
            self._core = TorchCore(self.network, self.groups, most, placement)

    def columns(self) -> tuple[list[Column], list[Column]]:
        """Return the columns that a row must have: (carried, statistics)."""
        config = self.network.config
        carried = [
            Column("hidden", (self.groups, config.layers, config.hidden)),
            Column("window", (self.kept, self._numeric), np.nan),
        ]
        if config.cell is Cell.LSTM:
            carried.append(Column("cell", (self.groups, config.layers, config.hidden)))
        codes = Column("window_codes", (self.kept, len(self._categories.fields)))
        return carried, [Column("window_time", (self.kept,), np.nan), codes]

    def step(self, rows: Rows, moment: Moment, y_BD: Float32, mask_BD: Float32) -> Passed:
        """Move hidden state, cell state and recent events past the event; return the network's output."""
        entering, config = self._entering(rows.carried("window")[:, 0], moment, y_BD, mask_BD), self.network.config
        passed = Passed.blank(len(rows), self._numeric, sum(config.classes), config.reconstruct)
        with torch.inference_mode():
            for which in self._tiles(len(rows)):
                self._pass(rows.part(which), entering.part(which), passed.part(which))
        remember(rows.carried_BP, rows.statistics_BQ, rows.layout.of(at), moment, y_BD, mask_BD, self.kept)
        return passed

    def _tiles(self, rows: int) -> Iterator[slice]:
        """Return the slices of rows that go through the network together."""
        return (slice(start, start + self._together) for start in range(0, rows, self._together))

    def _pass(self, tile: Rows, entering: Entering, passed: Passed) -> None:
        self._core.enter(tile, entering)
        predicted, used = self._core.predicted(), len(tile) * self.groups
        self._core.move_on(tile)
        rebuilt, values = self._core.rebuilt(tile), self.network.config.values
        take(predicted[:used], rebuilt[:used], entering.latest_BD, self.groups, values, passed)

    def rebuild(self, rows: Rows) -> None:
        """Rebuild hidden and cell state from each row's recent events, as if its stream had begun with them (law L9).
        The states of the rows must be blank."""
        time_BW = rows["window_time"]
        gap_BW = time_BW - np.concatenate([time_BW[:, 1:], np.full((len(rows), 1), np.nan)], axis=1)
        for place in reversed(range(self.kept)):
            there_B = np.flatnonzero(~np.isnan(time_BW[:, place]))
            if len(there_B):
                some = rows.take(there_B)
                self._again(some, place, gap_BW[there_B, place])
                rows.carried_BP[there_B] = some.carried_BP

    def _again(self, rows: Rows, place: int, gap_B: Float64) -> None:
        """Move the rows past recent event `place` once more."""
        y_BD = rows.carried("window")[:, place]
        moment = Moment(
            rows["window_time"][:, place].astype(np.int64),
            gap_B,
            rows["gap_mean"],
            y_BD.astype(np.float64),
            rows["window_codes"][:, place].astype(np.int64),
            np.ones(len(rows)),
            np.zeros(len(rows), bool),
        )
        entering = self._entering(y_BD, moment, or_zero(y_BD), (~np.isnan(y_BD)).astype(np.float32))
        with torch.inference_mode():
            for which in self._tiles(len(rows)):
                tile = rows.part(which)
                self._core.enter(tile, entering.part(which))
                self._core.move_on(tile)

    def _entering(self, latest_BD: Float32, moment: Moment, y_BD: Float32, mask_BD: Float32) -> Entering:
        context_BX = context(moment.time_B, moment.gap_B, moment.typical_gap_B, self._timezone)
        classes_BC = or_zero(self._categories.classes(moment.codes_BC)).astype(np.int64)
        return Entering(y_BD, mask_BD, np.ascontiguousarray(latest_BD), context_BX, classes_BC)
