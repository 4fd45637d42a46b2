"""What training costs on this machine: sequences a second, and the share of an epoch that is spent on making batches.

Example: python benchmarks/training.py --streams 64 --events 4000 --device cpu
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from anomaly_daemon.detection.network import Layout, NetworkConfig
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.detection.observation import Numeric, Schema
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training.chunks import Lane, collate, run_events, schedule, shuffled_runs, whole_runs
from anomaly_daemon.training.dataset import Cuts, Part, Series, cut_points
from anomaly_daemon.training.loop import Course, train
from anomaly_daemon.training.rows import Row, network_rows

FIELDS = 4
EPOCHS = 3


def prepared(streams: int, events: int) -> tuple[list[Row], Cuts]:
    """Return generated waves as the rows that the network is trained on, and the cuts between the parts."""
    random = np.random.default_rng(0)
    recorded = []
    for place in range(streams):
        wave = np.sin(np.arange(events)[:, None] / (5.0 + np.arange(FIELDS))) + 0.1 * random.standard_normal(
            (events, FIELDS)
        )
        codes = np.zeros((events, 0), np.int64)
        recorded.append(Series(f"s{place}", np.arange(events, dtype=np.int64) * 1_000_000, wave, codes))
    schema = Schema(tuple(Numeric(f"f{place}") for place in range(FIELDS)))
    return network_rows(recorded, schema, {}, Normalizer(), Layout.JOINT), cut_points(recorded, 0.15, 0.15)


def steps_of(rows: list[Row], cuts: Cuts, settings: TrainingSettings) -> list[list[Lane]]:
    """Return the batches of one epoch."""
    stride = settings.window // 2
    events = sum(run.stop - run.start for run in whole_runs(rows, cuts, Part.TRAINING))
    length = run_events(events, settings.batch_size, settings.window, stride)
    runs = shuffled_runs(rows, cuts, length, np.random.default_rng(0))
    return list(schedule(runs, settings.batch_size, settings.window, stride))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def core_alone(settings: TrainingSettings, steps: list[list[Lane]], device: torch.device) -> float:
    """Return the seconds that torch's own LSTM alone takes for the forward and backward pass over the same number of
    sequences."""
    core = torch.nn.LSTM(FIELDS, settings.hidden, batch_first=True).to(device)

    def once() -> None:
        for lanes in steps:
            out, _ = core(torch.ones(len(lanes), settings.window, FIELDS, device=device))
            torch.autograd.backward(out.sum())
        if device.type == "cuda":
            torch.cuda.synchronize()

    once()
    return seconds(once)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    device, rows_cuts = torch.device(args.device), prepared(args.streams, args.events)
    rows, cuts = rows_cuts
    settings = TrainingSettings(epochs=EPOCHS, patience=EPOCHS, precision=args.precision)
    config = NetworkConfig(hidden=settings.hidden, head=tuple(settings.head), values=FIELDS, reconstruct=8)
    steps = steps_of(rows, cuts, settings)
    batches = seconds(lambda: [collate(rows, lanes, settings.window, config.reconstruct) for lanes in steps])
    epoch = seconds(lambda: train(config, settings, rows, cuts, Course(device))) / EPOCHS
    sequences = sum(map(len, steps))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one core"
    told = {"device": name, "precision": args.precision, "sequences": sequences, "epoch_seconds": round(epoch, 3)}
    told |= {"sequences_a_second": round(sequences / epoch), "batches_share": round(batches / epoch, 4)}
    print(json.dumps(told | {"core_alone_seconds": round(core_alone(settings, steps, device), 3)}))


if __name__ == "__main__":
    main()
