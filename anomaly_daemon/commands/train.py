"""`train`: trains a model artifact on recorded files or on a range of a topic."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_daemon.commands import common
from anomaly_daemon.commands.outputs import refuse_unwritable, refuse_unwritable_folder
from anomaly_daemon.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import torch

    from anomaly_daemon.detection.artifact import Model
    from anomaly_daemon.detection.observation import Observations
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.training.parallel import Ranks
    from anomaly_daemon.training.under_way import Tell
    from anomaly_daemon.transport.ports import RecordBatch

HELP = "train a model on recorded files or on a range of a topic, calibrate and evaluate it"
EXAMPLE = """\
  anomaly-daemon train -c configs/sensors.yaml --input january.jsonl february.jsonl --output models/sensors
  anomaly-daemon train -c configs/sensors.yaml --from-topic --start 2026-01-01 --end 2026-02-01 --output models/sensors
  anomaly-daemon train -c configs/sensors.yaml --input january.parquet --output models/wide --set training.hidden=96"""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    add_input_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder of the model artifact")
    parser.add_argument("--name", type=common.text, help="the model's name in alerts (default: the configuration's)")
    add_training_arguments(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the validation curve as a PNG")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: every epoch, then the summary")


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what to train on."""
    parser.add_argument(
        "--input",
        nargs="+",
        metavar="FILE",
        help="CSV, JSON lines or Parquet: files, folders, patterns (default: the source)",
    )
    parser.add_argument("--from-topic", action="store_true", help="read the Kafka topic of the configuration")
    parser.add_argument(
        "--start", metavar="PLACE", help="first offset or ISO time of the topic (default: its beginning)"
    )
    parser.add_argument("--end", metavar="PLACE", help="where to stop, an offset or ISO time (default: its end now)")


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how to train."""
    parser.add_argument("--seed", type=int, help="the same as --set training.seed=N")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train (default: auto)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint of a training that was stopped"
    )


def run(args: argparse.Namespace) -> int:
    settings = load(args)
    return in_processes(settings, args, partial(_run, settings, args))


def _run(settings: Settings, args: argparse.Namespace, on: torch.device, ranks: Ranks) -> int:
    from anomaly_daemon.checkpoint.models import refuse_other, write_model
    from anomaly_daemon.training.build import build
    from anomaly_daemon.training.checkpoint import refuse_foreign
    from anomaly_daemon.training.loop import Course

    refuse_other(args.output)
    refuse_unwritable_folder("--output", args.output)
    refuse_unwritable("--plot", args.plot, files_read(settings, args))
    saved = args.output.with_name(args.output.name + ".checkpoint")
    refuse_foreign(saved)
    saved.parent.mkdir(parents=True, exist_ok=True)
    with resumable(saved), common.phases() as tell:
        course = Course(on, saved, args.resume, ranks=ranks, tell=tell, note=common.note)
        model = build(settings, recorded(settings, args, tell), name=args.name or settings.name, course=course)
    write_model(model, args.output)
    saved.unlink(missing_ok=True)
    _tell(model, args)
    return 0


def in_processes(settings: Settings, args: argparse.Namespace, lead: Callable[[torch.device, Ranks], int]) -> int:
    """Run `lead` in the first process of torchrun (or the only one) and return its exit code. The other processes train
    along with it, and return 0."""
    import torch

    from anomaly_daemon.training.loop import follow
    from anomaly_daemon.training.parallel import joined

    torch.set_num_threads(settings.model.threads)
    with joined(device(args.device)) as (on, ranks):
        if ranks.leads:
            return lead(on, ranks)
        follow(ranks, on)
    return 0


def load(args: argparse.Namespace) -> Settings:
    """Return the settings, with --seed as one of the overrides."""
    return common.load(args, *([] if args.seed is None else [f"training.seed={args.seed}"]))


@contextmanager
def resumable(saved: Path) -> Iterator[None]:
    """Print how to resume a training that is interrupted, where it has a checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        if saved.exists():
            print(f"\nstopped; the same command with --resume continues from {saved}", file=sys.stderr)
        raise


def recorded(settings: Settings, args: argparse.Namespace, tell: Tell | None = None) -> Iterator[Observations]:
    """Yield the decoded observations that the input arguments ask for."""
    from anomaly_daemon.training.recorded import observations
    from anomaly_daemon.training.under_way import quiet

    return observations(settings, _told_of(partial(_batches, settings, args), tell or quiet))


def _told_of(batches: Callable[[Callable[[int], None]], Iterable[RecordBatch]], tell: Tell) -> Iterator[RecordBatch]:
    """Yield the batches and report progress. The amount to read is known for a topic, and not for files; their share is
    NaN."""
    from anomaly_daemon.training.under_way import READING

    records, whole = 0, math.nan

    def expect(offsets: int) -> None:
        nonlocal whole
        whole = max(offsets, 1)

    for batch in batches(expect):
        records += len(batch)
        tell(READING, records / whole, f"{records:,} records")
        yield batch


def _batches(settings: Settings, args: argparse.Namespace, expect: Callable[[int], None]) -> Iterator[RecordBatch]:
    from anomaly_daemon.training.recorded import from_files, from_topic

    topic = reads_topic(settings, args)
    if args.input and args.from_topic:
        raise UsageError("give --input or --from-topic, not both")
    if (args.start or args.end) and not topic:
        raise UsageError("--start and --end apply to a topic only: use --from-topic")
    if not topic:
        return from_files(settings, files_read(settings, args))
    if settings.source.topic is None:
        raise ConfigurationError("--from-topic needs source.topic")
    return from_topic(settings, settings.source.topic, _place(args.start), _place(args.end), expect)


def files_read(settings: Settings, args: argparse.Namespace) -> list[str]:
    """Return the files of the input, where it is not a topic."""
    return common.files(args.input) if args.input else list(settings.source.paths)


def reads_topic(settings: Settings, args: argparse.Namespace) -> bool:
    """Whether the input is a topic."""
    return bool(args.from_topic or (not args.input and settings.source.kind == "kafka"))


def _place(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def device(asked: str) -> torch.device:
    """Return the device that --device names. Raises ConfigurationError where CUDA is asked for and not there."""
    import torch

    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return torch.device(asked)


def _tell(model: Model, args: argparse.Namespace) -> None:
    from anomaly_daemon.report.measures import measured
    from anomaly_daemon.training.checkpoint import Epoch
    from anomaly_daemon.training.curve import cells, draw, sparkline

    training = model.manifest.training
    curve = [Epoch(**point) for point in training["curve"]]
    if args.plot:
        draw(curve, training["best_epoch"], args.plot)
    if args.json:
        for point in training["curve"]:
            common.print_json({"epoch": point})
        common.print_json({"summary": _summary(model, args.output)})
        return
    print(common.table(*cells(curve, training["best_epoch"])))
    print(f"\nvalidation {sparkline([one.validation for one in curve])}\n")
    print(common.table(*measured(training["metrics"])))
    if training["cut_short"]:
        print(f"\n{_cut_short(len(curve), asked=training['settings']['epochs'] is not None)}")
    if warning := _warning(training["metrics"]):
        print(f"\n{warning}")
    print(f"\nmodel {model.ref.name} {model.ref.version} ({model.digest[:12]}): {args.output}")


def _summary(model: Model, output: Path) -> dict[str, Any]:
    training = model.manifest.training
    return {
        "model": {"name": model.ref.name, "version": model.ref.version, "digest": model.digest},
        "output": str(output),
        "calibrated_on": model.calibration.samples,
        **{key: training[key] for key in ("range", "streams", "events", "best_epoch", "cut_short", "metrics")},
    }


def _cut_short(epochs: int, *, asked: bool) -> str:
    """Return the message for a training that ended at its limit of epochs. `asked`: the settings name that number."""
    return (
        f"the training reached its maximum number of epochs ({epochs:,}) while it was still improving: raise "
        f"training.epochs{', or leave it out' if asked else ''}"
    )


def _warning(metrics: dict[str, Any]) -> str | None:
    """Return a warning where repeating the last value predicts as well as the network: then nothing was learned that is
    worth running. Otherwise None."""
    network, last = metrics.get("network", {}).get("nll"), metrics.get("last_value", {}).get("nll")
    if network is None or last is None or network < last:
        return None
    return (
        f"the network predicts no better than repeating the last value ({network:.4f} against {last:.4f} nats a "
        "value): give it more epochs or more input, or stay with the shipped one (docs/training.md)"
    )
