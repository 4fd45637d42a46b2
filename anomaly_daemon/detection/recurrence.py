"""The carried state of the network, moved on by one event of each of B streams, or rebuilt from their recent events.

Some rows at a time go through the network, in buffers that stay in a processor's cache: `enter` writes what it reads of
each, `take` reads what it says.

Shapes: B rows, D numeric and C categorical features, G network rows a stream (1 in the joint layout, D in the channel
layout), M = B x G network rows, V values a network row, W recent events kept, L layers, H units.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.context import context
from anomaly_daemon.detection.errors import or_zero
from anomaly_daemon.detection.heads import Head
from anomaly_daemon.detection.lstm import Lstm
from anomaly_daemon.detection.network import CONTEXT, Cell, Layout, Network, State
from anomaly_daemon.detection.observation import Float32, Float64
from anomaly_daemon.detection.passage import Entering, Moment, Passed, at, enter, remember, take
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.state import Column, Rows

RECENT_EVENTS = 16
"""The least number of a stream's last events that its row keeps: another network's state is rebuilt from them (law L9)."""


class Recurrence:
    """A network bound to a schema's categories and time zone. Holds no stream's state: that is in the rows.

    The weights are taken as they are now. It has buffers, so one thread uses it.
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
        self._least = placement.least_rows(most)
        rows = max(most, self._least)
        self._lstm = Lstm(self.network, most, self._least) if config.cell is Cell.LSTM else None
        self._prediction, self._reconstruction = (
            Head(dense, rows) for dense in (self.network.prediction, self.network.reconstruction)
        )
        self._entered = torch.zeros(rows, 3 * config.values + CONTEXT)
        weight = self.network.weights(0)[0]
        self._seen = weight.new_zeros(rows, config.hidden + CONTEXT + config.values, requires_grad=False)

    def columns(self) -> tuple[list[Column], list[Column]]:
        """What a row must hold: (carried, statistics)."""
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
        """Move hidden, cell and recent events on past the event."""
        entering, config = self._entering(rows.carried("window")[:, 0], moment, y_BD, mask_BD), self.network.config
        passed = Passed.blank(len(rows), self._numeric, sum(config.classes), config.reconstruct)
        with torch.inference_mode():
            for which in self._tiles(len(rows)):
                self._pass(rows.part(which), entering.part(which), passed.part(which))
        remember(rows.carried_BP, rows.statistics_BQ, rows.layout.of(at), moment, y_BD, mask_BD, self.kept)
        return passed

    def _tiles(self, rows: int) -> Iterator[slice]:
        """Some rows at a time."""
        return (slice(start, start + self._together) for start in range(0, rows, self._together))

    def _pass(self, tile: Rows, entering: Entering, passed: Passed) -> None:
        carried, entered = self._carried(tile), self._enter(entering)
        values, hidden = self.network.config.values, self.network.config.hidden
        seen, used = self._seen[: len(entered)], len(tile) * self.groups
        self._look(seen, carried)
        seen[:, hidden:] = entered[:, 2 * values :]
        predicted = self._here(self._prediction(seen))
        self._move_on(tile, carried, entered, entering)
        self._look(seen, carried)
        rebuilt = self._here(self._reconstruction(seen[:, :hidden]))
        take(predicted[:used], rebuilt[:used], entering.latest_BD, self.groups, values, passed)

    def _enter(self, entering: Entering) -> Tensor:
        """Values, masks, context and latest values of each network row, padded, where the network runs."""
        rows = len(entering.y_BD) * self.groups
        entered = self._entered[: max(rows, self._least)]
        enter(entering, self.groups, self.network.config.values, entered.numpy())
        return self._placement.there(entered)

    def _here(self, out: Tensor) -> Float32:
        return self._placement.here(out).numpy()

    def _carried(self, tile: Rows) -> list[Tensor]:
        """Hidden and (of an LSTM) cell state where the network runs, [B, G, L, H] each."""
        return [self._placement.there(block) for block in self._blocks(tile)]

    def _blocks(self, tile: Rows) -> list[Tensor]:
        names = ("hidden", "cell") if self._lstm else ("hidden",)
        return [torch.from_numpy(tile.carried(name)) for name in names]

    def _look(self, seen: Tensor, carried: list[Tensor]) -> None:
        """At the top layer's hidden state."""
        top_BGH = carried[0][:, :, -1]
        rows, groups, units = top_BGH.shape
        seen[: rows * groups, :units].view(rows, groups, units).copy_(top_BGH)

    def _move_on(self, tile: Rows, carried: list[Tensor], entered: Tensor, entering: Entering) -> None:
        x = self._embedded(entered, entering)
        if self._lstm is None:
            hidden = carried[0]
            before = _padded(hidden.flatten(0, 1), self._least).transpose(0, 1).contiguous()
            after = self.network.step(x, State(before, x.new_empty(0)))
            hidden.copy_(after.hidden.transpose(0, 1)[: hidden.shape[0] * hidden.shape[1]].view(hidden.shape))
        else:
            self._lstm.step(x[: len(tile) * self.groups], *carried)
        for block, there in zip(self._blocks(tile), carried, strict=True):
            self._placement.back(block, there)

    def _embedded(self, entered: Tensor, entering: Entering) -> Tensor:
        """A network row's inputs: values, masks, context, embeddings."""
        x = entered[:, : 2 * self.network.config.values + CONTEXT]
        if not self.network.config.classes:
            return x
        classes = self._placement.there(_padded(torch.from_numpy(entering.classes_BC), len(x)))
        embeddings = enumerate(self.network.embeddings)
        return torch.cat([x, *(embedding(classes[:, place]) for place, embedding in embeddings)], dim=1)

    def rebuild(self, rows: Rows) -> None:
        """Hidden and cell state from each row's recent events, as if its stream had begun with them (law L9)."""
        time_BW = rows["window_time"]
        gap_BW = time_BW - np.concatenate([time_BW[:, 1:], np.full((len(rows), 1), np.nan)], axis=1)
        for place in reversed(range(self.kept)):
            there_B = np.flatnonzero(~np.isnan(time_BW[:, place]))
            if len(there_B):
                some = rows.take(there_B)
                self._again(some, place, gap_BW[there_B, place])
                rows.carried_BP[there_B] = some.carried_BP

    def _again(self, rows: Rows, place: int, gap_B: Float64) -> None:
        """Recent event `place` once more."""
        y_BD = rows.carried("window")[:, place]
        moment = Moment(
            rows["window_time"][:, place].astype(np.int64),
            gap_B,
            rows["gap_mean"],
            y_BD.astype(np.float64),
            rows["window_codes"][:, place].astype(np.int64),
            np.ones(len(rows)),
        )
        entering = self._entering(y_BD, moment, or_zero(y_BD), (~np.isnan(y_BD)).astype(np.float32))
        with torch.inference_mode():
            for which in self._tiles(len(rows)):
                tile, now = rows.part(which), entering.part(which)
                self._move_on(tile, self._carried(tile), self._enter(now), now)

    def _entering(self, latest_BD: Float32, moment: Moment, y_BD: Float32, mask_BD: Float32) -> Entering:
        context_BX = context(moment.time_B, moment.gap_B, moment.typical_gap_B, self._timezone)
        classes_BC = or_zero(self._categories.classes(moment.codes_BC)).astype(np.int64)
        return Entering(y_BD, mask_BD, np.ascontiguousarray(latest_BD), context_BX, classes_BC)


def _padded(rows: Tensor, least: int) -> Tensor:
    missing = least - len(rows)
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing > 0 else rows
