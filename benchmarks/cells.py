"""LSTM beside RNN and GRU: the same long-lag training, by the project's own loop.

A row shows a mark of +1 or -1, then noise for `lag` events, then the mark again. The context says which events are
marks and which repeat one, so only the sign is to be remembered over the lag (after Hochreiter and Schmidhuber 1997,
task 2); guessing is right half of the time. Windows are longer than the lag, so gradients reach the mark.

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

NOISE = 0.3
REPEATED = -1.0
"""In the first context input: 1 is a mark, -1 its repetition, 0 noise."""


def row(random: np.random.Generator, start: int, events: int, lag: int) -> Row:
    """Mark, noise and repeated mark, over and over, from a random place on."""
    values_TD = (NOISE * random.standard_normal((events, 1))).astype(np.float32)
    context_TX = np.zeros((events, CONTEXT), np.float32)
    first = int(random.integers(lag))
    while first + lag < events:
        values_TD[[first, first + lag]] = random.choice([-1.0, 1.0])
        context_TX[[first, first + lag], 0] = 1.0, REPEATED
        first += lag + int(random.integers(1, 6))
    nothing_T0 = np.zeros((events, 0), np.int64)
    return Row("row", start + np.arange(events), values_TD, np.ones_like(values_TD), context_TX, nothing_T0)


def rows(seed: int, lag: int, counts: tuple[int, int, int], events: int) -> list[Row]:
    """Training, validation and test rows."""
    random = np.random.default_rng((seed, lag))
    starts = (0, CUTS.validation, CUTS.test)
    return [row(random, start, events, lag) for start, count in zip(starts, counts, strict=True) for _ in range(count)]


def recalled(network: Network, test: list[Row]) -> float:
    """The share of repeated marks whose sign was predicted."""
    values, context = (
        torch.from_numpy(np.stack([getattr(one, name) for one in test])) for name in ("values_TD", "context_TX")
    )
    with torch.no_grad():
        prediction, _, _ = network(Inputs(values, torch.ones_like(values), context, values[..., :0].long()))
    right = prediction.location.sign() == values.sign()
    return float(right[context[..., 0] == REPEATED].float().mean())


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
                config = NetworkConfig(cell=cell, hidden=50, head=(32,), reconstruct=1)
                network, _ = train(config, chosen, made, CUTS)
                shares.append(recalled(network, made[-64:]))
            case = f"{cell} lag {lag}"
            yield case, "recalled", float(np.mean(shares))
            yield case, "seconds_a_training", (time.perf_counter() - began) / arguments.seeds


def main() -> None:
    """Print the table or the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lags", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rows", type=int, default=512, help="training rows")
    parser.add_argument("--seeds", type=int, default=1)
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
