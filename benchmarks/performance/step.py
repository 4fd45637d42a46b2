"""The network's step alone, compared with torch's own and with this machine's rate of matrix products; and the whole
detector."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.lstm import MINIMUM_ROWS
from anomaly_daemon.detection.lstm_core import LstmCore
from anomaly_daemon.detection.network import CONTEXT, Network
from anomaly_daemon.detection.passage import Entering
from anomaly_daemon.detection.state import Column, Rows, StateLayout
from performance.onnx_step import onnx_step
from performance.rows import Row, shortest
from performance.workload import detector_of, joint_model, observations

FIELDS, HIDDEN = 8, 64
SIDE = 1024
"""The side of the square matrices whose product gives this machine's rate."""
LARGE = 2**25
"""Number of floats in the array whose copy gives the bandwidth: more than any cache holds."""


def measure(seconds: float) -> Iterator[Row]:
    """Yield the figures of the step, then of the detector."""
    square = torch.randn(SIDE, SIDE)
    product = shortest({"product": lambda: square @ square}, seconds)["product"]
    machine = 2 * SIDE**3 / product / 1e9
    yield Row("step", "matrix product", "gflop_per_second", machine)
    large, copy = torch.ones(LARGE), torch.ones(LARGE)
    bandwidth = 2 * 4 * LARGE / shortest({"copy": lambda: copy.copy_(large)}, seconds)["copy"] / 1e9
    yield Row("step", "copy, reading and writing", "gb_per_second", bandwidth)
    for rows in (1, 100, 1000, 10_000):
        yield from _contenders(rows, seconds, machine, bandwidth)
    for layout, model in (("joint", joint_model(FIELDS)), ("channel", None)):
        yield from _detector(f"{layout}, {FIELDS} fields", detector_of(FIELDS, model), FIELDS, seconds)
    yield from _detector("channel, 1 field", detector_of(1), 1, seconds)


def _contenders(rows: int, seconds: float, machine: float, bandwidth: float) -> Iterator[Row]:
    network = joint_model(FIELDS, HIDDEN).network
    x, h, c = torch.randn(rows, network.config.inputs), torch.zeros(rows, HIDDEN), torch.zeros(rows, HIDDEN)
    with torch.inference_mode():
        times = shortest(_calls(network, x, h, c), seconds)
    flop = 2 * (network.config.inputs + HIDDEN) * 4 * HIDDEN
    moved = 4 * (network.config.inputs + 4 * HIDDEN)  # bytes of a row: inputs once, both states read and written
    for name, best in times.items():
        yield Row("step", f"{name}, {rows} rows", "rows_per_second", rows / best)
        yield Row("step", f"{name}, {rows} rows", "share_of_matrix_product", flop * rows / best / 1e9 / machine)
        yield Row("step", f"{name}, {rows} rows", "share_of_bandwidth", moved * rows / best / 1e9 / bandwidth)


def _calls(network: Network, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> dict[str, Callable[[], object]]:
    rows, inputs = x.shape
    core, tiles = LstmCore(network, 1, SIDE, MINIMUM_ROWS), [_tile(min(SIDE, rows - at)) for at in range(0, rows, SIDE)]
    module, sequence = torch.nn.LSTMCell(inputs, HIDDEN), network.recurrent
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: [(core.enter(*tile), core.move_on(tile[0])) for tile in tiles],
        "torch.nn.LSTMCell": lambda: module(x, (h, c)),
        "torch.nn.LSTM, one step": lambda: sequence(x[:, None], (h[None], c[None])),
    }
    if shutil.which("g++"):
        compiled = torch.compile(module, dynamic=False)
        calls["torch.compile of LSTMCell"] = lambda: compiled(x, (h, c))
    if (onnx := onnx_step(module)) is not None:
        calls["ONNX Runtime"] = lambda: onnx(x, h, c)
    return calls


def _tile(rows: int) -> tuple[Rows, Entering]:
    """Return blank states in rows as a slab holds them, and one random event for each row."""
    random = np.random.default_rng(0)
    blank = StateLayout([Column("hidden", (1, 1, HIDDEN)), Column("cell", (1, 1, HIDDEN))], []).blank(rows)
    y, latest = (random.normal(size=(rows, FIELDS)).astype(np.float32) for _ in range(2))
    context = random.normal(size=(rows, CONTEXT)).astype(np.float32)
    return blank, Entering(y, np.ones_like(y), latest, context, np.zeros((rows, 0), np.int64))


def _detector(case: str, detector: Detector, fields: int, seconds: float) -> Iterator[Row]:
    """Yield the rate of everything but reading and decoding: a thousand streams, ten events of each in a batch."""
    batch = observations(1000, 10_000, fields)

    def step() -> None:
        nonlocal batch
        detector.step(batch)
        batch = replace(batch, time_N=batch.time_N + 600_000_000, offset_N=batch.offset_N + len(batch))

    best = shortest({"step": step}, max(seconds, 1.0))["step"]
    yield Row("detector", case, "events_per_second", len(batch) / best)
