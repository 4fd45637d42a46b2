"""How well the network predicts the test part, compared with two predictors that need no training: the last value, and
an exponentially weighted moving average.

All are measured on the same normalised values with the same likelihood (Student's t, see `loss`). A baseline has one
scale, the one that fits the training part best. Shapes: T events, D values, C categorical fields.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anomaly_daemon.detection.network import Network
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.training.chunks import collate, schedule, whole_runs
from anomaly_daemon.training.dataset import Cuts, Part
from anomaly_daemon.training.loop import MEASURE_BATCH, carried, measure
from anomaly_daemon.training.loss import student_nll
from anomaly_daemon.training.rows import Row

SMOOTHING = 0.1
"""Weight of the newest value in the exponentially weighted moving average."""

SCALES = np.linspace(-4.0, 2.0, 61)
"""Log scales that are tried for a baseline."""


def evaluate(network: Network, rows: Sequence[Row], cuts: Cuts, window: int) -> dict[str, Any]:
    """Return the means over the test part, for the manifest: nats and absolute error a value, by predictor."""
    runs = whole_runs(rows, cuts, Part.TEST)
    prediction, reconstruction = (
        float(mean) for mean in measure(network, rows, runs, window, torch.device("cpu")).means()
    )
    found: dict[str, Any] = {
        "events": sum(
            {rows[run.row].key: run.stop - run.start for run in runs}.values()
        ),  # the rows of a stream share its events
        "prediction_loss": prediction,
        "reconstruction_loss": reconstruction,
        "network": of_network(network, rows, cuts, window),
    }
    for name, keep in (("last_value", 1.0), ("ewma", SMOOTHING)):
        found[name] = _of_average(rows, cuts, keep)
    if network.config.classes:
        found["class_frequency"] = {"category_nll": _of_frequency(rows, cuts, network.config.classes)}
    return found


def of_network(network: Network, rows: Sequence[Row], cuts: Cuts, window: int) -> dict[str, float]:
    """Return the network's nats and absolute error a value over the test part, and nats a class. An entry is missing
    where there are no values, or no classes."""
    sums: defaultdict[str, float] = defaultdict(float)
    state = network.initial_state(0)
    with torch.no_grad():
        for lanes in schedule(whole_runs(rows, cuts, Part.TEST), MEASURE_BATCH, window, window):
            chunk = collate(rows, lanes, window, network.config.reconstruct)
            predicted, _, state = network(chunk.inputs, carried(state, chunk.previous), chunk.past_values[:, -1])
            values, mask = chunk.inputs.values, chunk.inputs.mask
            sums["values"] += float(mask.sum())
            sums["nll"] += float((student_nll(values, predicted.location, predicted.log_scale) * mask).sum())
            sums["error"] += float(((values - predicted.location).abs() * mask).sum())
            for place, logits in enumerate(predicted.logits):
                target = chunk.targets[..., place]
                there = target >= 0
                shares = torch.log_softmax(logits, -1).gather(-1, target.clamp(min=0)[..., None])[..., 0]
                sums["classes"] += float(there.sum())
                sums["category_nll"] -= float((shares * there).sum())
    return _means(sums["nll"], sums["error"], sums["values"], sums["category_nll"], sums["classes"])


def _means(
    nll: float, error: float, values: float, category_nll: float = 0.0, classes: float = 0.0
) -> dict[str, float]:
    out = {"nll": nll / values, "absolute_error": error / values} if values else {}
    return out | ({"category_nll": category_nll / classes} if classes else {})


def _of_average(rows: Sequence[Row], cuts: Cuts, keep: float) -> dict[str, float]:
    """Return the figures of predicting the exponentially weighted moving average of the values so far. `keep` is the
    weight of the newest value; with 1 the prediction is the last value."""
    training: list[Float64] = []
    test: list[Float64] = []
    for row in rows:
        errors_TD = _average_errors(row, keep)
        for part, into in ((Part.TRAINING, training), (Part.TEST, test)):
            start, stop = cuts.span(row.time_T, part)
            into.append(errors_TD[start:stop][row.mask_TD[start:stop] > 0])
    fitted, judged = torch.from_numpy(np.concatenate(training)), torch.from_numpy(np.concatenate(test))
    if not len(judged):
        return {}

    def nll(errors: torch.Tensor, scale: float) -> float:
        return float(student_nll(errors, torch.zeros(1), torch.tensor(scale)).mean())

    scale = min(SCALES.tolist(), key=lambda one: nll(fitted, one))
    return _means(nll(judged, scale) * len(judged), float(judged.abs().sum()), len(judged))


def _average_errors(row: Row, keep: float) -> Float64:
    level_D, errors_TD = np.zeros(row.values_TD.shape[1]), np.zeros(row.values_TD.shape)
    for t in range(len(row)):
        errors_TD[t] = row.values_TD[t] - level_D
        level_D = level_D + keep * np.where(row.mask_TD[t] > 0, errors_TD[t], 0.0)
    return errors_TD


def _of_frequency(rows: Sequence[Row], cuts: Cuts, classes: tuple[int, ...]) -> float:
    """Return the nats a class of predicting each class by its share of the training part, with one added to every
    count."""
    total, count = 0.0, 0
    for field, size in enumerate(classes):
        training, test = (_targets(rows, cuts, part, field) for part in (Part.TRAINING, Part.TEST))
        seen = np.bincount(training, minlength=size) + 1.0
        total -= float(np.log(seen / seen.sum())[test].sum())
        count += len(test)
    return total / max(count, 1)


def _targets(rows: Sequence[Row], cuts: Cuts, part: Part, field: int) -> Int64:
    parts = [row.classes_TC[slice(*cuts.span(row.time_T, part)), field] for row in rows]
    whole = np.concatenate(parts)
    return whole[whole >= 0]
