"""The carried state of the network, moved on by one event of each of B streams, or rebuilt from their recent events.

Shapes: B rows, D numeric and C categorical features, G network rows a stream (1 in the joint layout, D in the channel
layout), M = B x G network rows, V values a network row, R reconstructed events, W recent events kept, L layers, H units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anomaly_daemon.detection.categories import Categories
from anomaly_daemon.detection.context import context
from anomaly_daemon.detection.errors import or_zero
from anomaly_daemon.detection.lstm import Lstm
from anomaly_daemon.detection.network import Cell, Inputs, Layout, Network, State
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.state import Column, Rows

Float32 = npt.NDArray[np.float32]

RECENT_EVENTS = 16
"""The least number of a stream's last events that its row keeps: another network's state is rebuilt from them (law L9)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event of each row."""

    time_B: Int64
    gap_B: Float64
    """Microseconds since the stream's last event; NaN for its first."""
    typical_gap_B: Float64
    values_BD: Float64
    """As read, NaN where there is none."""
    codes_BC: Int64
    pace_B: Float64
    """How much this event teaches, 0 to 1."""


class Passed(NamedTuple):
    """What the network says of an event: predicted before it, rebuilt after it."""

    location_BD: Float64
    log_scale_BD: Float64
    logits: list[Float64]
    """[B, K] for each categorical field"""
    rebuilt_BRD: Float64


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
        self._lstm = Lstm(self.network, most, self._least) if config.cell is Cell.LSTM else None

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

    def window(self, rows: Rows) -> Float64:
        """The events the reconstruction head rebuilds, newest first, [B, R, D]."""
        return rows.carried("window")[:, : self.network.config.reconstruct].astype(np.float64)

    def step(self, rows: Rows, moment: Moment, y_BD: Float32, mask_BD: Float32) -> Passed:
        """Move hidden, cell and recent events on past the event."""
        inputs = self._inputs(moment, y_BD, mask_BD)
        latest = torch.from_numpy(self._values(or_zero(rows.carried("window")[:, 0])))
        with torch.inference_mode():
            parts = [self._pass(tile, now, before) for tile, now, before in self._tiles(rows, inputs, latest)]
            location, log_scale, rebuilt, *logits = (torch.cat(each).cpu().numpy() for each in zip(*parts, strict=True))
        _remember(rows, "window", np.where(mask_BD > 0, y_BD, np.nan))
        _remember(rows, "window_time", moment.time_B)
        _remember(rows, "window_codes", moment.codes_BC)
        b, g, r = len(rows), self.groups, rebuilt.shape[1]
        return Passed(
            location.reshape(b, -1).astype(np.float64),
            log_scale.reshape(b, -1).astype(np.float64),
            [part.astype(np.float64) for part in logits],
            rebuilt.reshape(b, g, r, -1).transpose(0, 2, 1, 3).reshape(b, r, -1).astype(np.float64),
        )

    def _tiles(self, rows: Rows, inputs: Inputs, latest: Tensor) -> Iterator[tuple[Rows, Inputs, Tensor]]:
        """Some rows at a time, and what enters the network of them, padded."""
        for start in range(0, len(rows), self._together):
            tile = rows.part(slice(start, start + self._together))
            at = slice(start * self.groups, (start + len(tile)) * self.groups)
            yield tile, Inputs(*(self._there(part[at]) for part in inputs)), self._there(latest[at])

    def _there(self, rows: Tensor) -> Tensor:
        """Where the network runs, padded."""
        return self._placement.there(_padded(rows, self._least))

    def _pass(self, tile: Rows, inputs: Inputs, latest: Tensor) -> list[Tensor]:
        """Location, log scale, what is rebuilt, and the logits of each field; [M, ...] each."""
        carried = self._carried(tile)
        prediction = self.network.predict(self._top(carried), inputs.context, latest)
        self._move_on(tile, carried, inputs)
        rebuilt = self.network.reconstruct(self._top(carried))
        used = len(tile) * self.groups
        return [part[:used] for part in (prediction.location, prediction.log_scale, rebuilt, *prediction.logits)]

    def _carried(self, tile: Rows) -> list[Tensor]:
        """Hidden and (of an LSTM) cell state where the network runs, [B, G, L, H] each."""
        return [self._placement.there(block) for block in self._blocks(tile)]

    def _blocks(self, tile: Rows) -> list[Tensor]:
        names = ("hidden", "cell") if self._lstm else ("hidden",)
        return [torch.from_numpy(tile.carried(name)) for name in names]

    def _top(self, carried: list[Tensor]) -> Tensor:
        """The top layer's hidden state, padded."""
        return _padded(carried[0][:, :, -1].flatten(0, 1), self._least)

    def _move_on(self, tile: Rows, carried: list[Tensor], inputs: Inputs) -> None:
        x = self.network.embed(inputs)
        if self._lstm is None:
            hidden = carried[0]
            before = _padded(hidden.flatten(0, 1), self._least).transpose(0, 1).contiguous()
            after = self.network.step(x, State(before, x.new_empty(0)))
            hidden.copy_(after.hidden.transpose(0, 1)[: hidden.shape[0] * hidden.shape[1]].view(hidden.shape))
        else:
            self._lstm.step(x[: len(tile) * self.groups], *carried)
        for block, there in zip(self._blocks(tile), carried, strict=True):
            self._placement.back(block, there)

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
        inputs = self._inputs(moment, or_zero(y_BD), (~np.isnan(y_BD)).astype(np.float32))
        with torch.inference_mode():
            for tile, now, _ in self._tiles(rows, inputs, inputs.values):
                self._move_on(tile, self._carried(tile), now)

    def _inputs(self, moment: Moment, y_BD: Float32, mask_BD: Float32) -> Inputs:
        context_BX = context(moment.time_B, moment.gap_B, moment.typical_gap_B, self._timezone)
        classes_BC = or_zero(self._categories.classes(moment.codes_BC)).astype(np.int64)
        return Inputs(
            torch.from_numpy(self._values(y_BD)),
            torch.from_numpy(self._values(mask_BD)),
            torch.from_numpy(np.repeat(context_BX, self.groups, axis=0)),
            torch.from_numpy(np.repeat(classes_BC, self.groups, axis=0)),
        )

    def _values(self, y_BD: Float32) -> Float32:
        """[M, V]"""
        return y_BD.reshape(-1, self.network.config.values)


def _remember(rows: Rows, name: str, newest: npt.ArrayLike) -> None:
    recent = rows[name]
    recent[:, 1:] = recent[:, :-1].copy()
    recent[:, 0] = newest


def _padded(rows: Tensor, least: int) -> Tensor:
    missing = least - len(rows)
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing > 0 else rows
