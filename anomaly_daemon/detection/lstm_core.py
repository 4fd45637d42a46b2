"""The LSTM on the CPU, in the slab's own rows: matrix products (`products`), and compiled code between them.

Everything that the products read of a network row lies side by side in one buffer: embeddings, values, masks, hidden
state, context, latest values. The gates read all of it but the latest values. The prediction head reads from the hidden
state to the end, and the reconstruction head reads the hidden state alone. So each number is copied into the buffer
only once.

Shapes: B streams, G network rows a stream, M = B x G rows, I inputs, L layers, H units, O outputs.
"""

from __future__ import annotations

import torch

from anomaly_daemon.detection import gates
from anomaly_daemon.detection.gates import At
from anomaly_daemon.detection.heads import Head
from anomaly_daemon.detection.lstm import Layer, layer_of
from anomaly_daemon.detection.network import CONTEXT, Network
from anomaly_daemon.detection.observation import Float32
from anomaly_daemon.detection.passage import Columns, Entering, enter
from anomaly_daemon.detection.products import Product, whole
from anomaly_daemon.detection.state import Rows


class LstmCore:
    """`recurrence.Core` for at most `most_rows` rows at once. It owns buffers, so only one thread may use it."""

    def __init__(self, network: Network, groups: int, most_rows: int, least_rows: int) -> None:
        """`least_rows`: smaller batches are padded to this many rows."""
        self._network, self._groups, self._least, config = network, groups, least_rows, network.config
        rows, embedded = whole(max(most_rows, least_rows)), config.embedding * len(config.classes)
        self._hidden = embedded + 2 * config.values
        context = self._hidden + config.hidden
        self._columns = Columns(embedded, embedded + config.values, context, context + CONTEXT)
        layers = [_first(network, rows), *(layer_of(network, place, rows) for place in range(1, config.layers))]
        self._layers, self._joined = layers, [layer.joined.numpy() for layer in layers]
        self._products = [Product(layer.weights, layer.bias, rows) for layer in layers]
        self._embeddings = list(network.embeddings)
        self._units, self._stride = config.hidden, config.hidden * config.layers
        self._used = 0
        self._prediction, self._reconstruction = (
            Head(dense, rows) for dense in (network.prediction, network.reconstruction)
        )
        heads = self._prediction.blocks and self._reconstruction.blocks
        self._blocks = heads and all(product.blocks for product in self._products)

    def enter(self, tile: Rows, entering: Entering) -> None:
        """Copy one event of each row, and the top layer's hidden state before it, into the buffer."""
        used, each = max(len(tile) * self._groups, self._least), self._network.config.embedding
        self._used = whole(used) if self._blocks else used
        enter(entering, self._groups, self._network.config.values, self._columns, self._joined[0])
        for place, embedding in enumerate(self._embeddings):
            classes = torch.from_numpy(entering.classes_BC[:, place])
            self._layers[0].joined[: len(tile), place * each : (place + 1) * each] = embedding(classes)
        self._look(tile, len(self._layers) - 1)

    def predicted(self) -> Float32:
        """Return the prediction head's output [M, O], before the event's value is seen; padding rows are included."""
        return self._prediction(self._layers[0].joined[: self._used, self._hidden :]).numpy()

    def move_on(self, tile: Rows) -> None:
        """Move the state of every layer past the event."""
        if len(self._layers) > 1:
            self._look(tile, 0)
        hidden, cell = tile.layout.of(gates.at)
        for place, layer in enumerate(self._layers):
            if place:
                self._bring(tile, place - 1, self._joined[place], 0)
                self._bring(tile, place, self._joined[place], self._units)
            joined = layer.joined[: self._used, : len(layer.weights)]
            gates_MN = self._products[place](joined).numpy()
            here = At(hidden + place * self._units, cell + place * self._units)
            gates.move_on(gates_MN, tile.carried_BP, here, self._groups, self._stride, self._units)

    def rebuilt(self, tile: Rows) -> Float32:
        """Return the reconstruction head's output [M, O], from the state after the event; padding rows are included."""
        self._look(tile, len(self._layers) - 1)
        top = self._layers[0].joined[: self._used, self._hidden : self._columns.context]
        return self._reconstruction(top).numpy()

    def _look(self, tile: Rows, layer: int) -> None:
        """Copy the present hidden state of a layer into the columns of the buffer that the products read."""
        self._bring(tile, layer, self._joined[0], self._hidden)

    def _bring(self, tile: Rows, layer: int, joined: Float32, column: int) -> None:
        """Copy a layer's hidden state into `joined`, from `column` on."""
        start = tile.layout.of(gates.at).hidden + layer * self._units
        gates.look(tile.carried_BP, start, self._groups, self._stride, self._units, joined, column)


def _first(network: Network, rows: int) -> Layer:
    """Return the first layer, with its weights in the order of the buffer. The buffer also has space for the latest
    values."""
    weights, bias, _ = layer_of(network, 0, 0)
    values, inputs = 2 * network.config.values, network.config.inputs
    parts = (
        slice(values + CONTEXT, inputs),
        slice(values),
        slice(inputs, len(weights)),
        slice(values, values + CONTEXT),
    )
    ordered = torch.cat([weights[part] for part in parts])
    return Layer(ordered, bias, weights.new_zeros(rows, len(weights) + network.config.values))
