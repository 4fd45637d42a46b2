"""LSTM beside RNN and GRU: the same long-lag training, by the project's own loop.

A row shows a mark of +1 or -1, then small noise for `lag` events, then the mark again, foretold one event ahead by a cue
(after Hochreiter and Schmidhuber 1997, task 2). Only a state that held the mark over the lag knows its sign: guessing
is right half of the time. Windows are longer than the lag, so gradients reach the mark.

    python benchmarks/cells.py            a table
    python benchmarks/cells.py --json     one {"benchmark", "case", "metric", "value"} a line
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import torch

from anomaly_daemon.detection.network import CONTEXT, Cell, Inputs, Network, NetworkConfig
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training.dataset import Cuts
from anomaly_daemon.training.loop import train
from anomaly_daemon.training.rows import Row

CUTS = Cuts(10_000_000, 20_000_000)
"""Rows of the three parts stand in different times, so the cut by time keeps them apart."""

NOISE = 0.1
CUE, MARK = 1, 0
"""The two values of an event."""


def row(random: np.random.Generator, start: int, events: int, lag: int) -> Row:
    """Mark, noise and repeated mark, over and over, from a random place on."""
    values_TD = np.zeros((events, 2), np.float32)
    values_TD[:, MARK] = NOISE * random.standard_normal(events)
    for first in range(int(random.integers(lag)), events, lag + 5):
        sign = random.choice([-1.0, 1.0])
        values_TD[first, CUE], values_TD[first, MARK] = 1.0, sign
        if first + lag < events:
            values_TD[first + lag - 1, CUE], values_TD[first + lag, MARK] = -1.0, sign
    time_T = start + np.arange(events)
    nothing = np.zeros((events, CONTEXT), np.float32)
    return Row("row", time_T, values_TD, np.ones_like(values_TD), nothing, np.zeros((events, 0), np.int64))


def rows(seed: int, lag: int, counts: tuple[int, int, int], events: int) -> list[Row]:
    """Training, validation and test rows."""
    random = np.random.default_rng((seed, lag))
    starts = (0, CUTS.validation, CUTS.test)
    return [row(random, start, events, lag) for start, count in zip(starts, counts, strict=True) for _ in range(count)]


def recalled(network: Network, test: list[Row]) -> float:
    """The share of repeated marks whose sign was predicted."""
    values = torch.from_numpy(np.stack([one.values_TD for one in test]))
    context = torch.zeros(*values.shape[:2], CONTEXT)
    with torch.no_grad():
        prediction, _, _ = network(Inputs(values, torch.ones_like(values), context, values[..., :0].long()))
    due = values[:, :-1, CUE] < 0
    right = prediction.location[:, 1:, MARK].sign() == values[:, 1:, MARK].sign()
    return float(right[due].float().mean())


def measure(arguments: argparse.Namespace) -> Iterator[tuple[str, str, float]]:
    """Case, metric and value of every cell at every lag."""
    for lag in arguments.lags:
        window = max(2 * lag, 32)
        for cell in (Cell.RNN, Cell.GRU, Cell.LSTM):
            shares, began = [], time.perf_counter()
            for seed in range(arguments.seeds):
                made = rows(seed, lag, (arguments.rows, 32, 64), 4 * window)
                chosen = TrainingSettings(
                    epochs=arguments.epochs, patience=arguments.epochs, window=window, stride=window, batch_size=32,
                    learning_rate=3e-3, reconstruction_loss_weight=0.0, seed=seed,
                )  # fmt: skip
                config = NetworkConfig(cell=cell, hidden=50, head=(32,), values=2, reconstruct=1)
                network, _ = train(config, chosen, made, CUTS, device=torch.device("cpu"))
                shares.append(recalled(network, made[-64:]))
            case = f"{cell} lag {lag}"
            yield case, "recalled", float(np.mean(shares))
            yield case, "seconds_a_training", (time.perf_counter() - began) / arguments.seeds


def main() -> None:
    """Print the table or the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lags", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=256, help="training rows")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.json:
        print(f"{'case':<14}{'metric':<20}value")
    for case, metric, value in measure(arguments):
        if arguments.json:
            print(
                json.dumps({"benchmark": "cells", "case": case, "metric": metric, "value": round(value, 4)}), flush=True
            )
        else:
            print(f"{case:<14}{metric:<20}{value:.3f}", flush=True)


if __name__ == "__main__":
    main()
