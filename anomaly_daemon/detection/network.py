"""The shared recurrent network, for one step or a whole sequence, with two heads on the carried state.

Shapes: B rows (streams, or streams x features in the channel layout), T events, D values a row, C categorical fields, K
classes of a field, R reconstructed events, L layers, H units, X context inputs.

At event t the *prediction* head sees the state after event t-1, that event's values, and the context of event t (time
gap, calendar), which is known before the value of event t. It gives the location and scale of that value, and class
probabilities. Then the value enters the state, and the *reconstruction* head rebuilds the last R events from that state
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn

CONTEXT = 5
"""Number of context inputs of an event: log time gap, sine and cosine of the time of day, and of the day of the week.
"""

FIRST_CHANGE = 0.01
"""Factor on the initial weights of the prediction head's last layer. With weights this small an untrained network
predicts the latest value. From there a network learns a slow stream in a fraction of the epochs that it needs to find
the identity through the state."""

LOG_SCALE_RANGE = (-5.0, 3.0)
"""Bounds of the predicted log scale, so that an exactly predictable series does not give an infinite error."""


class Layout(StrEnum):
    """What one row of the network represents."""

    JOINT = "joint"
    """One stream: all its features enter together."""
    CHANNEL = "channel"
    """One numeric feature of a stream. The same weights serve any number of features, and so any schema."""


class Cell(StrEnum):
    LSTM = "lstm"
    GRU = "gru"
    RNN = "rnn"


class Initialization(StrEnum):
    GLOROT = "glorot"
    HE = "he"
    ORTHOGONAL = "orthogonal"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The settings that a network is built from: everything that decides the shapes of its weights, dropout and
    initialisation."""

    layout: Layout = Layout.JOINT
    cell: Cell = Cell.LSTM
    layers: int = 1
    hidden: int = 64
    head: tuple[int, ...] = (64,)
    values: int = 1
    """D: numeric values per row; 1 in the channel layout."""
    classes: tuple[int, ...] = ()
    """K of each categorical field, including the unknown class 0; empty in the channel layout."""
    embedding: int = 8
    reconstruct: int = 8
    dropout: float = 0.0
    initialization: Initialization = Initialization.ORTHOGONAL

    @property
    def inputs(self) -> int:
        """Width of one event's input: values, masks, context, embeddings."""
        return 2 * self.values + CONTEXT + self.embedding * len(self.classes)


class Inputs(NamedTuple):
    """Normalised events. A missing value is 0 with mask 0. The leading axes are [B] for a step and [B, T] for a
    sequence."""

    values: Tensor
    """[..., D] float32"""
    mask: Tensor
    """[..., D] float32, 1 where the value is present"""
    context: Tensor
    """[..., X] float32"""
    classes: Tensor
    """[..., C] int64, 0 for unknown or missing"""


class State(NamedTuple):
    """The state carried for each row, [L, B, H] each. `cell` is empty ([0, B, H]) except for the LSTM."""

    hidden: Tensor
    cell: Tensor


class Prediction(NamedTuple):
    """The prediction of an event, made before its value is seen."""

    location: Tensor
    """[..., D]"""
    log_scale: Tensor
    """[..., D]"""
    logits: tuple[Tensor, ...]
    """[..., K] for each categorical field"""


class Network(nn.Module):
    """A recurrent core with a prediction head and a reconstruction head."""

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        core = {Cell.LSTM: nn.LSTM, Cell.GRU: nn.GRU, Cell.RNN: nn.RNN}[config.cell]
        self.embeddings = nn.ModuleList(nn.Embedding(classes, config.embedding) for classes in config.classes)
        self.recurrent = core(
            config.inputs,
            config.hidden,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.prediction = _dense(
            config.hidden + CONTEXT + config.values, config.head, 2 * config.values + sum(config.classes)
        )
        self.reconstruction = _dense(config.hidden, config.head, config.reconstruct * config.values)
        initialize(self, config.initialization, generator)

    def initial_state(self, rows: int) -> State:
        """Return the state of `rows` rows that have seen no event."""
        parameter = next(self.recurrent.parameters())
        hidden = parameter.new_zeros(self.config.layers, rows, self.config.hidden)
        return State(hidden, hidden.clone() if self.config.cell is Cell.LSTM else hidden[:0])

    def forward(
        self, inputs: Inputs, state: State | None = None, latest: Tensor | None = None
    ) -> tuple[Prediction, Tensor, State]:
        """Run a sequence [B, T, ...] through the network. Return the predictions of every event, the reconstructions
        [B, T, R, D] (newest first) and the last state.

        `latest` [B, D] are the values of the event before the first one; None means that there was none.
        """
        state = self.initial_state(inputs.values.shape[0]) if state is None else state
        carried = (state.hidden, state.cell) if self.config.cell is Cell.LSTM else state.hidden
        top_BTH, last = self.recurrent(self.embed(inputs), carried)
        before_BTH = torch.cat([state.hidden[-1:].transpose(0, 1), top_BTH[:, :-1]], dim=1)
        after = State(*last) if self.config.cell is Cell.LSTM else State(last, state.cell)
        first_B1D = torch.zeros_like(inputs.values[:, :1]) if latest is None else latest[:, None]
        latest_BTD = torch.cat([first_B1D, inputs.values[:, :-1]], dim=1)
        prediction = self.predict(self.dropout(before_BTH), inputs.context, latest_BTD)
        return prediction, self.reconstruct(self.dropout(top_BTH)), after

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the input vector of an event [..., config.inputs]."""
        parts = [inputs.values, inputs.mask, inputs.context]
        parts += [embedding(inputs.classes[..., place]) for place, embedding in enumerate(self.embeddings)]
        return torch.cat(parts, dim=-1)

    def predict(self, top: Tensor, context: Tensor, latest: Tensor) -> Prediction:
        """Predict the next event's values from the top layer's state [..., H], that event's context [..., X] and the
        values of the event before [..., D] (0 where missing). The head learns the change from the latter values."""
        out = self.prediction(torch.cat([top, context, latest], dim=-1))
        values = self.config.values
        logits = torch.split(out[..., 2 * values :], list(self.config.classes), dim=-1) if self.config.classes else ()
        log_scale = out[..., values : 2 * values].clamp(*LOG_SCALE_RANGE)
        return Prediction(latest + out[..., :values], log_scale, tuple(logits))

    def reconstruct(self, top: Tensor) -> Tensor:
        """Return the last R events' values [..., R, D], newest first, rebuilt from the top layer's state [..., H]
        alone."""
        rebuilt: Tensor = self.reconstruction(top)
        return rebuilt.reshape(*top.shape[:-1], self.config.reconstruct, self.config.values)

    def step(self, x_BI: Tensor, state: State) -> State:
        """Move B rows past one event in the recurrent core. Gives the same numbers as `forward` on a sequence of one
        event."""
        hidden, cell = [], []
        for layer in range(self.config.layers):
            if self.config.cell is Cell.LSTM:
                carried = (state.hidden[layer], state.cell[layer])
                x_BI, c_BH = torch.lstm_cell(x_BI, carried, *self.weights(layer))
                cell.append(c_BH)
            else:
                step = torch.gru_cell if self.config.cell is Cell.GRU else torch.rnn_tanh_cell
                x_BI = step(x_BI, state.hidden[layer], *self.weights(layer))
            hidden.append(x_BI)
        return State(torch.stack(hidden), torch.stack(cell) if cell else state.cell)

    def weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the weights of one layer of the core, in torch's order of gates: for inputs, for the state, and the
        two biases."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ih, hh, bias_ih, bias_hh = (getattr(self.recurrent, f"{name}_l{layer}") for name in names)
        return ih, hh, bias_ih, bias_hh


def _dense(inputs: int, widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def initialize(network: Network, how: Initialization, generator: torch.Generator | None = None) -> None:
    """Set Glorot (2010), He (2015) or orthogonal (Saxe 2014) weights, zero biases, and a forget-gate bias of 1
    (Jozefowicz 2015), with which a cell keeps its content until it learns to forget. The two biases of that gate add up
    to 1."""
    fill: dict[Initialization, Callable[..., Tensor]] = {
        Initialization.GLOROT: nn.init.xavier_uniform_,
        Initialization.HE: nn.init.kaiming_uniform_,
        Initialization.ORTHOGONAL: nn.init.orthogonal_,
    }
    units = network.config.hidden
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() >= 2 and "embeddings" not in name:
                gates = torch.split(parameter, units) if name.startswith("recurrent") else (parameter,)
                for block in gates:
                    fill[how](block, generator=generator)
            elif "embeddings" in name:
                nn.init.normal_(parameter, std=0.1, generator=generator)
            else:
                nn.init.zeros_(parameter)
            if network.config.cell is Cell.LSTM and "bias_ih" in name:
                parameter[units : 2 * units] = 1.0  # torch's gate order: input, forget, candidate, output
        last_layer = network.get_parameter(f"prediction.{len(network.prediction) - 1}.weight")
        last_layer.mul_(FIRST_CHANGE)
