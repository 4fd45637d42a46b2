"""LSTM compared with RNN and GRU: the same trainings, by the project's own loop, on a pure memory task and on streams.

*Recalled*: a row shows a marked value, then noise for some events, then the marked value again. The context inputs say
which events are marked and which repeat a marked value. The network has to carry the value itself over the lag (after
Hochreiter and Schmidhuber 1997, task 2, with a value in the place of a sign, because a saturated unit of any cell can
hold a sign). Trained on lags from 2 to the longest, drawn log-uniformly. Reported for each lag separately: the root
mean square error divided by the value's own standard deviation. 1 is what guessing gives.

*Streams*: the kinds of streams that the shipped network was trained on, but fewer of them; and, separately, only
machine cycles of 5 to 300 events, whose next turn can be predicted only by a network that remembers the last one.
Reported: nats and absolute error a value, on streams that were not used in training.

    python -m benchmarks.cells            a table
    python -m benchmarks.cells --json     one {"benchmark", "case", "metric", "value"} a line
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from anomaly_daemon.detection.network import CONTEXT, Cell, Inputs, Layout, Network, NetworkConfig
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training.dataset import Cuts, Series
from anomaly_daemon.training.evaluate import of_network
from anomaly_daemon.training.generated import SECOND, Rhythm, duty_cycle, process_cycle, saw_tooth
from anomaly_daemon.training.loop import train
from anomaly_daemon.training.pretrain import CUTS as STREAM_CUTS
from anomaly_daemon.training.pretrain import SCHEMA, YEARS, Recipe
from anomaly_daemon.training.rows import Row, network_rows

CELLS = (Cell.RNN, Cell.GRU, Cell.LSTM)
CUTS = Cuts(10_000_000, 20_000_000)
"""The rows of the training, validation and test parts lie in different times, so the cut by time separates them."""

NOISE = 0.3
REPEATED = -1.0
"""The value of the first context input where a marked value is repeated; it is 1 at a mark and 0 in noise."""
DEVIATION = 3**-0.5
"""The standard deviation of a value drawn uniformly between -1 and 1."""
SHORTEST_LAG = 2

CADENCE = 60.0
CYCLES = (process_cycle, saw_tooth, duty_cycle)

Measured = Iterator[tuple[str, str, float]]
"""Case, metric and value of each figure."""


def row(random: np.random.Generator, start: int, events: int, lags: tuple[int, int]) -> Row:
    """Return a row of mark, noise and repeated mark, over and over. `lags` are the shortest and the longest lag."""
    values_TD = (NOISE * random.standard_normal((events, 1))).astype(np.float32)
    context_TX = np.zeros((events, CONTEXT), np.float32)
    first = int(random.integers(SHORTEST_LAG, 6))
    while first + (lag := round(np.exp(random.uniform(*np.log(lags))))) < events:
        values_TD[[first, first + lag]] = random.uniform(-1.0, 1.0)
        context_TX[[first, first + lag], 0] = 1.0, REPEATED
        first += lag + int(random.integers(1, 6))
    nothing_T0 = np.zeros((events, 0), np.int64)
    return Row("row", start + np.arange(events), values_TD, np.ones_like(values_TD), context_TX, nothing_T0)


def rows(seed: int, longest: int, counts: tuple[int, int]) -> list[Row]:
    """Return training and validation rows, a quarter longer than the longest lag. `counts`: how many of each."""
    random, events = np.random.default_rng((seed, longest)), longest + longest // 4
    lags = (SHORTEST_LAG, longest)
    parts = zip((0, CUTS.validation), counts, strict=True)
    return [row(random, start, events, lags) for start, count in parts for _ in range(count)]


def unexplained(network: Network, test: Sequence[Row]) -> float:
    """Return the root mean square error of the recalled values, divided by the standard deviation of the true ones."""
    values, context = (
        torch.from_numpy(np.stack([getattr(one, name) for one in test])) for name in ("values_TD", "context_TX")
    )
    with torch.no_grad():
        prediction, _, _ = network(Inputs(values, torch.ones_like(values), context, values[..., :0].long()))
    wrong = (prediction.location - values)[context[..., 0] == REPEATED]
    return float(wrong.square().mean().sqrt()) / DEVIATION


def recalled(asked: argparse.Namespace) -> Measured:
    """Train every cell on the recall task, and yield its error at every lag, its number of weights and its seconds an
    epoch."""
    longest, random = max(asked.lags), np.random.default_rng(0)
    test = {lag: [row(random, CUTS.test, 4 * lag, (lag, lag)) for _ in range(64)] for lag in asked.lags}
    window = longest + longest // 4
    for cell in CELLS:
        errors, seconds = [], []
        for seed in range(asked.seeds):
            chosen = TrainingSettings(
                epochs=asked.epochs, patience=asked.epochs, window=window, stride=window, batch_size=32,
                learning_rate=1e-2, reconstruction_loss_weight=0.0, seed=seed,
            )  # fmt: skip
            config = NetworkConfig(cell=cell, hidden=50, head=(32,), reconstruct=1)
            network, took = _timed(config, chosen, rows(seed, longest, (asked.rows, 64)), CUTS)
            errors.append([unexplained(network, test[lag]) for lag in asked.lags])
            seconds.append(took)
        case = f"recalled {cell}"
        yield from ((case, f"lag_{lag}", value) for lag, value in zip(asked.lags, np.mean(errors, axis=0), strict=True))
        yield from _costs(case, network, float(np.mean(seconds)))


def streams_learned(asked: argparse.Namespace) -> Measured:
    """Train every cell on generated streams of all kinds, and on cycles alone; yield its errors and costs on each."""
    recipe = Recipe(training_streams=asked.streams, held_out_streams=asked.streams // 4, epochs=asked.passes)
    sources: dict[str, Callable[[Recipe], list[Series]]] = {"all kinds": Recipe.series, "cycles": cycles}
    for name, series in sources.items():
        normalizer = Normalizer(memory=2000.0)
        made = network_rows(series(recipe), SCHEMA, {}, normalizer, Layout.CHANNEL)
        for cell in CELLS:
            config = replace(recipe.network(), cell=cell)
            network, seconds = _timed(config, recipe.settings(), made, STREAM_CUTS)
            case = f"{name} {cell}"
            yield from ((case, *told) for told in of_network(network, made, STREAM_CUTS, recipe.window).items())
            yield from _costs(case, network, seconds)


def cycles(recipe: Recipe) -> list[Series]:
    """Return streams of one cycle each, with a little noise."""
    counts = (recipe.training_streams, recipe.held_out_streams, recipe.held_out_streams)
    return [
        _cycle(np.random.default_rng((recipe.seed, place, number)), recipe, year, number)
        for place, (count, year) in enumerate(zip(counts, YEARS, strict=True))
        for number in range(count)
    ]


def _cycle(random: np.random.Generator, recipe: Recipe, year: int, number: int) -> Series:
    events = int(np.exp(random.uniform(*np.log((recipe.shortest, recipe.longest)))))
    rhythm = Rhythm(year + CADENCE * np.arange(events), CADENCE)
    value_T = CYCLES[number % len(CYCLES)](random, rhythm) + random.normal(0.0, 0.05, events)
    nothing_T0 = np.zeros((events, 0), np.int64)
    return Series(f"{number}", (rhythm.seconds_T * SECOND).astype(np.int64), value_T[:, None], nothing_T0)


def _timed(config: NetworkConfig, chosen: TrainingSettings, made: Sequence[Row], cuts: Cuts) -> tuple[Network, float]:
    """Return the best network, with the seconds that an epoch took, including its validation."""
    began = time.perf_counter()
    network, progress = train(config, chosen, made, cuts)
    return network, (time.perf_counter() - began) / len(progress.curve)


def _costs(case: str, network: Network, seconds: float) -> Measured:
    yield case, "weights", float(sum(one.numel() for one in network.parameters()))
    yield case, "seconds_an_epoch", seconds


def main() -> None:
    """Print the results as a table or as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lags", type=int, nargs="+", default=[10, 30, 100, 200])
    parser.add_argument("--rows", type=int, default=512, help="training rows of the recall (512)")
    parser.add_argument("--epochs", type=int, default=150, help="passes over them (150)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of the recall, whose mean is told (1)")
    parser.add_argument("--streams", type=int, default=600, help="training streams (600)")
    parser.add_argument("--passes", type=int, default=8, help="passes over them (8)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.json:
        print(f"{'case':<18}{'metric':<20}value")
    for measured in (recalled, streams_learned):
        for case, metric, value in measured(asked):
            told = {"benchmark": "cells", "case": case, "metric": metric, "value": round(value, 4)}
            print(json.dumps(told) if asked.json else f"{case:<18}{metric:<20}{value:.3f}", flush=True)


if __name__ == "__main__":
    main()
