"""Every cell on any device, by torch: the states of some rows are copied there, moved past an event, and copied back.

Shapes: B streams, G network rows a stream, M = B x G rows, L layers, H units, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anomaly_daemon.detection.heads import Head
from anomaly_daemon.detection.lstm import Lstm
from anomaly_daemon.detection.network import CONTEXT, Cell, Network, State
from anomaly_daemon.detection.observation import Float32
from anomaly_daemon.detection.passage import Columns, Entering, enter
from anomaly_daemon.detection.placement import Placement
from anomaly_daemon.detection.state import Rows


class TorchCore:
    """`recurrence.Core` for at most `most_rows` rows at once. It owns buffers, so only one thread may use it."""

    def __init__(self, network: Network, groups: int, most_rows: int, placement: Placement) -> None:
        """`network`: on the device where it runs."""
        self._network, self._groups, self._placement, config = network, groups, placement, network.config
        self._least = placement.least_rows(most_rows)
        rows = max(most_rows, self._least)
        self._lstm = Lstm(network, most_rows, self._least) if config.cell is Cell.LSTM else None
        self._prediction, self._reconstruction = (
            Head(dense, rows) for dense in (network.prediction, network.reconstruction)
        )
        known = 2 * config.values
        self._columns = Columns(0, config.values, known, known + CONTEXT)
        self._room = torch.zeros(rows, 3 * config.values + CONTEXT)
        weight = network.weights(0)[0]
        self._seen_room = weight.new_zeros(rows, config.hidden + CONTEXT + config.values, requires_grad=False)
        self._entered = self._seen = self._room[:0]
        self._carried: list[Tensor] = []
        self._classes = torch.zeros(0, len(config.classes), dtype=torch.int64)

    def enter(self, tile: Rows, entering: Entering) -> None:
        """Copy one event of each row, padded, and the state before it to where the network runs."""
        rows, config = max(len(tile) * self._groups, self._least), self._network.config
        enter(entering, self._groups, config.values, self._columns, self._room[:rows].numpy())
        self._entered = self._placement.there(self._room[:rows])
        self._carried = [self._placement.there(block) for block in self._blocks(tile)]
        self._classes = torch.from_numpy(entering.classes_BC)
        self._seen = self._seen_room[:rows]

    def predicted(self) -> Float32:
        """Return the prediction head's output [M, O], before the event's value is seen; padding rows are included."""
        self._look()
        self._seen[:, self._network.config.hidden :] = self._entered[:, self._columns.context :]
        return self._here(self._prediction(self._seen))

    def move_on(self, tile: Rows) -> None:
        """Move the state of every layer past the event."""
        x, rows = self._embedded(), len(tile) * self._groups
        if self._lstm is None:
            (hidden,) = self._carried
            before = _padded(hidden.flatten(0, 1), self._least).transpose(0, 1).contiguous()
            after = self._network.step(x, State(before, x.new_empty(0)))
            hidden.copy_(after.hidden.transpose(0, 1)[:rows].view(hidden.shape))
        else:
            self._lstm.step(x[:rows], *self._carried)
        for block, there in zip(self._blocks(tile), self._carried, strict=True):
            self._placement.back(block, there)

    def rebuilt(self, tile: Rows) -> Float32:
        """Return the reconstruction head's output [M, O], from the state after the event; padding rows are included."""
        self._look()
        return self._here(self._reconstruction(self._seen[:, : self._network.config.hidden]))

    def _here(self, out: Tensor) -> Float32:
        return self._placement.here(out).numpy()

    def _blocks(self, tile: Rows) -> list[Tensor]:
        """Return hidden and (for an LSTM) cell state, [B, G, L, H] each."""
        names = ("hidden", "cell") if self._lstm else ("hidden",)
        return [torch.from_numpy(tile.carried(name)) for name in names]

    def _look(self) -> None:
        """Copy the top layer's hidden state into the buffer that the heads read."""
        top_BGH = self._carried[0][:, :, -1]
        rows, groups, units = top_BGH.shape
        self._seen[: rows * groups, :units].view(rows, groups, units).copy_(top_BGH)

    def _embedded(self) -> Tensor:
        """Return each network row's inputs: values, masks, context, embeddings."""
        x = self._entered[:, : self._columns.latest]
        if not self._network.config.classes:
            return x
        classes = self._placement.there(_padded(self._classes, len(x)))
        embeddings = enumerate(self._network.embeddings)
        return torch.cat([x, *(embedding(classes[:, place]) for place, embedding in embeddings)], dim=1)


def _padded(rows: Tensor, least: int) -> Tensor:
    missing = least - len(rows)
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing > 0 else rows
