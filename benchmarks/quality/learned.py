"""Networks for the ablation: the shipped one unchanged, recalibrated for other weights of the heads, or trained on a
set.

A network is trained on the part of each series before its scored part, as `train` would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.settings import Settings
from anomaly_daemon.training import dataset
from anomaly_daemon.training.build import fit, score_rules
from anomaly_daemon.training.calibrate import calibrate
from anomaly_daemon.training.dataset import cut_points
from anomaly_daemon.training.generated import streams
from anomaly_daemon.training.pretrain import CUTS, SCHEMA, YEARS, Recipe
from benchmarks.quality import ours
from benchmarks.quality.series import Series

STEPS = 800
"""About the number of steps of a training on a set, from which the number of passes over it follows."""
PASSES = (3, 100)
"""The least and the largest number of passes."""
VALIDATION, TEST = 0.25, 0.05
"""Shares of the events that are learned from: skab has 6,400 of these, and a calibration needs 1,000."""


def shipped(_: Sequence[Series], settings: Settings) -> Model:
    """Return the shipped model, unchanged."""
    return read_model(settings.model.path)


def recalibrated(_: Sequence[Series], settings: Settings) -> Model:
    """Return the shipped weights, calibrated on streams generated as for the shipped calibration, under these settings
    of the heads."""
    model, recipe = read_model(settings.model.path), Recipe()
    held_out = streams(
        recipe.seed * 10 + 1, recipe.held_out_streams, float(YEARS[1]), (recipe.shortest, recipe.longest)
    )
    rules = score_rules(settings.detection)
    return Model(
        model.manifest,
        model.network,
        calibrate(model.network, model.manifest, SCHEMA, rules, held_out, CUTS.validation),
    )


def fine_tuned(series: Sequence[Series], settings: Settings) -> Model:
    """Return the shipped network with its training continued on these series."""
    return _trained(series, settings, "channel", read_model(settings.model.path))


def from_scratch(series: Sequence[Series], settings: Settings) -> Model:
    """Return a network of the same shape, trained on these series from random weights."""
    return _trained(series, settings, "channel")


def joint(series: Sequence[Series], settings: Settings) -> Model:
    """Return a network that reads all fields of a stream together, trained on these series from random weights."""
    return _trained(series, settings, "joint")


NETWORKS: dict[str, Callable[[Sequence[Series], Settings], Model]] = {
    "shipped": shipped,
    "recalibrated": recalibrated,
    "fine-tuned": fine_tuned,
    "from scratch": from_scratch,
    "from scratch, joint": joint,
}


def _trained(series: Sequence[Series], settings: Settings, layout: str, champion: Model | None = None) -> Model:
    torch.set_num_threads(1)
    known = [_known(one) for one in series]
    rows = sum(map(len, known)) * (series[0].values_ND.shape[1] if layout == "channel" else 1)
    chosen = settings.training
    steps = rows * (1 - VALIDATION - TEST) / (chosen.batch_size * chosen.window)
    passes = int(np.clip(np.ceil(STEPS / max(steps, 1)), *PASSES))
    training = chosen.model_copy(
        update={"layout": layout, "epochs": passes, "patience": max(passes // 4, 2), "stride": chosen.window}
    )
    return fit(
        settings.model_copy(update={"training": training}),
        known,
        {},
        cut_points(known, VALIDATION, TEST),
        name="ablation",
        champion=champion,
    )


def _known(series: Series) -> dataset.Series:
    cut = slice(series.start)
    nothing_T0 = np.zeros((series.start, 0), np.int64)
    return dataset.Series(series.name, ours.moved(series)[cut], series.values_ND[cut], nothing_T0)
