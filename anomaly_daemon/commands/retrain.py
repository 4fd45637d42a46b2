"""`retrain`: trains a challenger from the registry's champion and newer records, and promotes it if it is better."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_daemon.commands import challenger, common, train
from anomaly_daemon.commands.outputs import refuse_unwritable
from anomaly_daemon.errors import UsageError

if TYPE_CHECKING:
    import torch

    from anomaly_daemon.detection.alert import Alert
    from anomaly_daemon.detection.artifact import Model
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.training.known import Known
    from anomaly_daemon.training.loop import Course
    from anomaly_daemon.training.parallel import Ranks
    from anomaly_daemon.training.promotion import Measures, Reason
    from anomaly_daemon.training.retrain import Retrained

HELP = "continue the champion's training on newer records, compare the two, promote the better one"
EXAMPLE = """\
  anomaly-daemon retrain -c sensors.yaml --set model.path=/srv/models@champion --start 2026-03-01 --dry-run
  anomaly-daemon retrain -c sensors.yaml --set model.path=/srv/models@champion --input march.jsonl --alerts alerts.jsonl
  anomaly-daemon retrain -c sensors.yaml --set model.path=/srv/models@champion --feedback labels.jsonl --json
  anomaly-daemon retrain -c sensors.yaml --set model.path=/srv/models@champion --worker --device cuda
  anomaly-daemon retrain -c sensors.yaml --request "new recipe on the ovens" --start 2026-03-01
  anomaly-daemon retrain -c sensors.yaml --request drift --if-drifted --set model.path=/srv/models@champion"""

MEASURES = ("events", "loss", "tail", "alarms", "found")


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    train.add_input_arguments(parser)
    parser.add_argument("--alerts", metavar="FILE", help="published alerts as JSON lines (default: the alert topic)")
    parser.add_argument(
        "--feedback", metavar="FILE", help="labels that people gave to alerts (default: the feedback topic)"
    )
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="where training is saved after each epoch")
    parser.add_argument("--dry-run", action="store_true", help="decide and give the reasons, but store nothing")
    parser.add_argument(
        "--if-drifted", action="store_true", help="retrain only if the champion no longer fits the records"
    )
    parser.add_argument(
        "--worker", action="store_true", help="run as a service that handles the requests of retraining.requests_topic"
    )
    parser.add_argument(
        "--request",
        type=common.text,
        metavar="REASON",
        help="send a request with this reason (and --start, --end) to the workers, and end",
    )
    parser.set_defaults(asked=None)
    train.add_training_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object: both models' measures, and the reasons")


def run(args: argparse.Namespace) -> int:
    if args.worker and args.if_drifted:
        raise UsageError(
            "--if-drifted decides once, and --worker serves for ever: set retraining.drift_seconds, or give the requests "
            '"if_drifted": true'
        )
    if args.request is not None or args.worker:
        from anomaly_daemon.commands import requests

        requests.refuse_ignored(args)
        settings = train.load(args)
        _refuse_read_twice(settings, args)
        if args.worker:
            return requests.worker(settings, args)
        return requests.post(settings, args) if _due(settings, args) else 0
    settings = train.load(args)
    _refuse_read_twice(settings, args)
    return train.in_processes(settings, args, partial(_run, settings, args))


def _refuse_read_twice(settings: Settings, args: argparse.Namespace) -> None:
    """Raise UsageError where standard input is named more than once, or for an input that is read more than once: a
    worker reads all of them for each request, and a retraining that is due reads those of --if-drifted again."""
    again = "--worker" if args.worker else "--if-drifted" if args.if_drifted and args.request is None else None
    records = [] if train.reads_topic(settings, args) else train.files_read(settings, args)
    common.refuse_read_twice(
        *(("--input", path) for path in records),
        ("--alerts", args.alerts),
        ("--feedback", args.feedback),
        again=again,
    )


def _run(settings: Settings, args: argparse.Namespace, on: torch.device, ranks: Ranks) -> int:
    from anomaly_daemon.training.checkpoint import refuse_foreign
    from anomaly_daemon.training.loop import Course

    if not _due(settings, args):
        return 0
    registry, champion = challenger.champion_of(settings)
    saved = args.checkpoint or _checkpoint(settings.name, champion)
    read = [path for path in (args.alerts, args.feedback, args.config) if path]
    refuse_unwritable("--checkpoint", saved, [*train.files_read(settings, args), *map(str, read)])
    refuse_foreign(saved)
    with train.resumable(saved), common.phases() as tell:
        found = retrained(
            settings, args, champion, Course(on, saved, args.resume, ranks=ranks, tell=tell, note=common.note)
        )
    would = found.decision.promote and settings.retraining.promote == "by_gate"
    promoted = would if args.dry_run else challenger.store(settings, registry, found)[0]
    if not args.dry_run:
        challenger.prune(settings, registry, lambda text: print(f"anomaly-daemon: {text}", file=sys.stderr))
    saved.unlink(missing_ok=True)
    _tell(champion, found, args, promoted=promoted)
    return 0


def _checkpoint(name: str, champion: Model) -> Path:
    """Return the checkpoint's path where none is named: a file in the current folder, valid whatever the deployment is
    called."""
    safe = re.sub(r"[^\w.-]+", "-", name)
    return Path(f"{safe}-{champion.digest[:12]}.checkpoint")


def _due(settings: Settings, args: argparse.Namespace) -> bool:
    """Whether to train: with --if-drifted, whether one of the drift tests found drift. The result of each is printed."""
    if not args.if_drifted:
        return True
    found = drift_tests(settings, args, challenger.champion_of(settings)[1])
    if args.json:
        common.print_json({"drift": [asdict(reason) for reason in found]})
    else:
        rows = [[one.name, "YES" if one.passed else "no", one.text] for one in found]
        print(common.table(["drift", "found", "how"], rows) + "\n")
    return any(reason.passed for reason in found)


def drift_tests(settings: Settings, args: argparse.Namespace, champion: Model) -> tuple[Reason, ...]:
    """Return the results of the drift tests of the champion over the records that the arguments name."""
    from anomaly_daemon.regime import rules_of
    from anomaly_daemon.training.retrain import drift

    with common.phases() as tell:
        recorded = train.recorded(settings, args, tell)
        alerts = _alerts(settings, args)
        return drift(settings, champion, recorded, alerts if alerts is None else list(alerts), rules_of(settings))


def retrained(
    settings: Settings,
    args: argparse.Namespace,
    champion: Model,
    course: Course,
) -> Retrained:
    """Train and judge a challenger as the arguments ask. Nothing is kept yet."""
    from anomaly_daemon.regime import rules_of
    from anomaly_daemon.training.retrain import retrain

    known, recorded, rules = _known(settings, args), train.recorded(settings, args, course.tell), rules_of(settings)
    return retrain(settings, champion, recorded, known, rules, course)


def _known(settings: Settings, args: argparse.Namespace) -> Known:
    from anomaly_daemon.training.known import stretches
    from anomaly_daemon.transport.feedback_codec import decode, labels, of_file

    topic = settings.retraining.feedback_topic
    if args.feedback:
        feedback = of_file(args.feedback, common.lines(args.feedback))
    else:
        feedback = common.readable(_topic(settings, topic, args.asked) if topic else (), decode)
    return stretches(_alerts(settings, args) or (), labels(feedback))


def _alerts(settings: Settings, args: argparse.Namespace) -> Iterator[Alert] | None:
    """Return the alerts of --alerts, or else those of the alert topic where the input is a topic too. None where neither
    is there: then it is not known what was published."""
    from anomaly_daemon.transport.alert_codec import decode

    topic = settings.sink.alerts_topic if train.reads_topic(settings, args) else None
    if args.alerts:
        return common.readable(common.lines(args.alerts), decode)
    return common.readable(_topic(settings, topic, args.asked), decode) if topic else None


def _topic(settings: Settings, topic: str, until: str | None) -> Iterator[bytes]:
    """Yield the values that the topic still holds from before the time `until`, or up to now where it is None."""
    from anomaly_daemon.transport.kafka.inspect import read_range

    for batch in read_range(settings.kafka, topic, None, until):
        yield from (value for value in batch.values if value is not None)


def _tell(champion: Model, found: Retrained, args: argparse.Namespace, *, promoted: bool) -> None:
    decision = found.decision
    if args.json:
        common.print_json(
            {
                "promoted": promoted and not args.dry_run,
                "decision": "promote" if decision.promote else "keep",
                "reasons": [asdict(reason) for reason in decision.reasons],
                "left_out": found.left_out,
                "warnings": [found.seen] if found.seen else [],
                "champion": {"digest": champion.digest, **_figures(found.before)},
                "challenger": {"digest": found.challenger.digest, **_figures(found.after)},
            }
        )
        return
    rows = [[name, _said(getattr(found.before, name)), _said(getattr(found.after, name))] for name in MEASURES]
    print(common.table(["later data", "champion", "challenger"], rows))
    reasons = [[one.name, "yes" if one.passed else "NO", one.text] for one in decision.reasons]
    print("\n" + common.table(["condition", "met", "how"], reasons))
    if found.seen:
        print(f"\nwarning: {found.seen}")
    earned = "promoted" if promoted else "kept as the challenger, for `models promote`"
    verdict = f"{'would be ' if args.dry_run else ''}{earned}"
    if not decision.promote:
        verdict = f"{'would not be' if args.dry_run else 'not'} promoted: the champion stays"
    print(f"\n{found.challenger.digest[:12]} {verdict}")


def _figures(measures: Measures) -> dict[str, Any]:
    """Return the measures as JSON values. A figure that is not a number is None."""
    import msgspec

    return dict(msgspec.json.decode(msgspec.json.encode(measures)))


def _said(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}" if isinstance(figure, float) else str(figure)
