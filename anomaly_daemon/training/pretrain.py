"""The shipped network: trained on generated streams, calibrated on other generated streams.

    python -m anomaly_daemon.training.pretrain --output anomaly_daemon/pretrained

Training, validation and test streams are different streams in different years, so the cut by time of `dataset` keeps
them apart as it does for recorded streams. The calibration uses the validation streams. The manifest records the whole
recipe. After a change of the score, `--recalibrate` keeps the network and only repeats the calibration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from anomaly_daemon.checkpoint.models import read_model, write_model
from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.network import Layout, Network, NetworkConfig
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.detection.observation import Numeric, Schema
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.settings import TrainingSettings
from anomaly_daemon.training.calibrate import calibrate
from anomaly_daemon.training.checkpoint import Progress, refuse_foreign
from anomaly_daemon.training.chunks import Lane
from anomaly_daemon.training.dataset import Cuts, Series
from anomaly_daemon.training.evaluate import evaluate
from anomaly_daemon.training.generated import SECOND, streams
from anomaly_daemon.training.loop import Course, train
from anomaly_daemon.training.rows import network_rows

SCHEMA = Schema((Numeric("value"),))
"""One anonymous value: in the channel layout, each feature of each stream is such a value."""

YEARS = (1_577_836_800, 1_672_531_200, 1_735_689_600)
"""The starts of 2020, 2023 and 2025 in epoch seconds, where the training, validation and test streams begin."""

CUTS = Cuts(YEARS[1] * SECOND, YEARS[2] * SECOND)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines the shipped weights, except the machine."""

    seed: int = 1
    training_streams: int = 3000
    held_out_streams: int = 300
    shortest: int = 400
    longest: int = 3000
    epochs: int = 20
    hidden: int = 64
    window: int = 128
    batch_size: int = 64
    learning_rate: float = 2e-3

    def settings(self) -> TrainingSettings:
        """Return the recipe as settings of `train`."""
        return TrainingSettings(
            layout="channel",
            hidden=self.hidden,
            window=self.window,
            stride=self.window,
            epochs=self.epochs,
            patience=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )

    def network(self) -> NetworkConfig:
        """Return the network's shape. The channel layout fits any schema."""
        return NetworkConfig(layout=Layout.CHANNEL, hidden=self.hidden)

    def series(self) -> list[Series]:
        """Return the training, validation and test streams."""
        counts = (self.training_streams, self.held_out_streams, self.held_out_streams)
        lengths = (self.shortest, self.longest)
        return [
            one
            for place, (count, year) in enumerate(zip(counts, YEARS, strict=True))
            for one in streams(self.seed * 10 + place, count, float(year), lengths)
        ]


def pretrain(recipe: Recipe, *, saved: Path | None = None, resume: bool = False) -> Model:
    """Train, evaluate on the test streams, and calibrate on the validation streams."""
    rules = Rules()
    series, settings = recipe.series(), recipe.settings()
    rows = network_rows(series, SCHEMA, {}, Normalizer(memory=rules.adaptation_events), Layout.CHANNEL)
    course = Course(saved=saved, resume=resume, track=_progress)
    network, progress = train(recipe.network(), settings, rows, CUTS, course, origin={"recipe": asdict(recipe)})
    record = _record(recipe, progress, evaluate(network, rows, CUTS, settings.window))
    return _calibrated(network, record, series, rules)


def recalibrated(model: Model) -> Model:
    """Return the same network, calibrated for the score as it is computed now."""
    record = dict(model.manifest.training)
    return _calibrated(model.network, record, Recipe(**record["recipe"]).series(), Rules())


def _calibrated(network: Network, record: dict[str, Any], series: Sequence[Series], rules: Rules) -> Model:
    manifest = Manifest("pretrained", "1", network.config, training=record)
    held_out = [one for one in series if CUTS.validation <= one.time_T[0] < CUTS.test]
    return Model(manifest, network, calibrate(network, manifest, SCHEMA, rules, held_out, CUTS.validation))


def _record(recipe: Recipe, progress: Progress, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "origin": "generated streams; no recorded ones",
        "command": "python -m anomaly_daemon.training.pretrain",
        "recipe": asdict(recipe),
        "best_epoch": progress.best,
        "curve": [asdict(epoch) for epoch in progress.curve],
        "metrics": metrics,
        "torch": torch.__version__,
    }


def _progress(steps: Sequence[list[Lane]], text: str) -> Iterable[list[Lane]]:
    print(f"{text} · {len(steps)} steps", file=sys.stderr, flush=True)  # noqa: T201
    return steps


def main() -> None:
    """Write the artifact to the folder `--output`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the folder of the artifact")
    parser.add_argument("--recalibrate", action="store_true", help="keep the network, and only calibrate it again")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint beside the output")
    defaults = asdict(Recipe())
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    torch.set_num_threads(1)
    output = arguments["output"]
    if arguments["recalibrate"]:
        write_model(recalibrated(read_model(output)), output)
        return
    saved = output.with_name(output.name + ".checkpoint")
    refuse_foreign(saved)
    recipe = Recipe(**{name: arguments[name] for name in defaults})
    write_model(pretrain(recipe, saved=saved, resume=arguments["resume"]), output)
    saved.unlink()


if __name__ == "__main__":
    main()
