"""`backtest`: runs recorded files through the same detection code as the daemon, and compares episodes with labels."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_daemon.commands import common, gate
from anomaly_daemon.commands.numbers import not_negative
from anomaly_daemon.commands.outputs import refuse_unwritable
from anomaly_daemon.errors import TooManyMalformed

if TYPE_CHECKING:
    from anomaly_daemon.daemon.intake import Observer
    from anomaly_daemon.detection.alert import Alert
    from anomaly_daemon.report.summary import Outcome
    from anomaly_daemon.report.trace import Tracer
    from anomaly_daemon.settings import Settings

HELP = "run the daemon's detection code over recorded files: episodes, alarms against the budget, quality"
EXAMPLE = """\
  anomaly-daemon backtest --config configs/sensors.yaml records.jsonl --report backtest.html
  anomaly-daemon backtest --config configs/sensors.yaml records.jsonl --labels labels.csv --json
  anomaly-daemon backtest --config configs/sensors.yaml records.jsonl --scores scores.parquet
  anomaly-daemon backtest --config configs/sensors.yaml hourly/*.jsonl --together
  anomaly-daemon backtest --config new.yaml records.jsonl --gate cases.jsonl --alerts alerts.jsonl --feedback said.jsonl"""

ALL_TIMES = 1e12
"""More seconds than a calendar has. A longer tolerance is no different."""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    parser.add_argument(
        "files",
        nargs="*",
        metavar="RECORDS",
        help="files to read instead of source.paths: CSV, JSON lines or Parquet; also folders, or patterns in quotes",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="CSV or JSON of stream, start, end; or NAB's combined_windows.json"
    )
    parser.add_argument(
        "--tolerance",
        type=not_negative,
        default=0.0,
        metavar="SECONDS",
        help="an alarm this long after a label's end still finds it (default: 0)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a self-contained HTML page with plots")
    parser.add_argument(
        "--scores",
        type=Path,
        metavar="FILE",
        help="write every event's score as .csv or .parquet; empty where an event was not scored",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="the files continue one another, as rotated ones do: read them as one input, in the order named",
    )
    gate.arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line: episodes, then the summary")


def run(args: argparse.Namespace) -> int:
    from anomaly_daemon.daemon import logs
    from anomaly_daemon.report.backtest import over_files

    logs.configure("auto", "warning", sys.stderr)
    gate.refuse_idle(args)
    settings = over_files(common.load(args), common.files(args.files))
    records = [("RECORDS", path) for path in settings.source.paths]
    common.refuse_read_twice(*records, ("--alerts", args.alerts), ("--feedback", args.feedback))
    inputs = [*settings.source.paths, *(str(path) for path in _read(args) if path is not None)]
    for option, path in (("--report", args.report), ("--scores", args.scores), ("--gate", args.gate)):
        refuse_unwritable(option, path, inputs)
    cases = gate.cases_of(args) if args.gate else ()
    outcome, tracer = _backtest(settings, args)
    if args.report:
        _write_report(args.report, settings, outcome, tracer)
    if args.json:
        _print_json(outcome)
    else:
        print(f"\n{_text(outcome)}")
        for what, path in (("report", args.report), ("scores", args.scores)):
            if path:
                print(f"{what}: {path}")
    if complaint := outcome.complaint:
        raise TooManyMalformed(complaint)
    return gate.passed(cases, outcome, args) if args.gate else 0


def _read(args: argparse.Namespace) -> tuple[Path | str | None, ...]:
    """Return the files that are read besides the records."""
    return args.config, args.labels, args.alerts, args.feedback


def _backtest(settings: Settings, args: argparse.Namespace) -> tuple[Outcome, Tracer]:
    from anomaly_daemon.report.backtest import Labels, backtest
    from anomaly_daemon.report.labels import names_of, read_labels
    from anomaly_daemon.report.scores import ScoreFile
    from anomaly_daemon.report.trace import Tracer

    labels = Labels(read_labels(args.labels), round(min(args.tolerance, ALL_TIMES) * 1e6)) if args.labels else None
    labelled = () if labels is None else {window.stream for window in labels.windows}
    tracer = Tracer(wanted=[name for label in labelled for name in names_of(label)])
    with ExitStack() as stack:
        observers: list[Observer] = [tracer] if args.report else []
        if args.scores:
            observers.append(stack.enter_context(ScoreFile(args.scores, settings.stream.schema_())))
        advance = stack.enter_context(common.progress("backtest"))
        on_alert = _silent if args.json else _say
        return backtest(settings, on_alert, labels, observers, advance, together=args.together), tracer


def _say(alert: Alert) -> None:
    from anomaly_daemon.report.lines import line

    if (text := line(alert)) is not None:
        print(common.printable(text), flush=True)


def _silent(alert: Alert) -> None:
    """Print nothing: with --json, episodes are printed at the end, when they are complete."""


def _write_report(path: Path, settings: Settings, outcome: Outcome, tracer: Tracer) -> None:
    from anomaly_daemon.report.html import page

    names = [feature.name for feature in settings.stream.numeric]
    path.write_text(page(outcome, tracer.traces(), names), encoding="utf-8")


def _print_json(outcome: Outcome) -> None:
    from anomaly_daemon.report.summary import as_json, episode_json

    for episode in outcome.episodes:
        common.print_json({"episode": episode_json(episode)})
    common.print_json({"summary": as_json(outcome)})


def _reasons(outcome: Outcome) -> str:
    legible = outcome.legible
    return "" if legible is None or not legible.reasons else f" ({legible.summary()})"


def _text(outcome: Outcome) -> str:
    from anomaly_daemon.report.scale import number
    from anomaly_daemon.report.summary import duration, share

    tally, matched = outcome.tally, outcome.matched
    unscored = ", ".join(f"{count:,} {name}" for name, count in tally.by_status.items() if count and name != "scored")
    kinds = ", ".join(f"{count} {kind}" for kind, count in outcome.by_kind.items())
    streams = f"{len(tally.streams):,} stream{'' if len(tally.streams) == 1 else 's'}"
    lines = [
        f"{tally.events:,} events of {streams}, {outcome.events_per_second:,.0f} a second",
        f"not scored: {unscored or 'none'}; unreadable: {outcome.rejected:,}{_reasons(outcome)}",
        f"episodes: {len(outcome.episodes):,}{f' ({kinds})' if kinds else ''}",
        f"pattern alarms per stream and day: {number(outcome.realised)} (budget {number(outcome.alarms_per_day)})",
    ]
    if matched is not None:
        delay = duration(None if matched.median_delay is None else matched.median_delay / 1e6)
        lines.append(
            f"labels found: {matched.found} of {len(matched.hits)}, false alarms: {len(matched.false_alarms)}, "
            f"precision {share(matched.precision)}, recall {share(matched.recall)}, F1 {number(matched.f1)}, "
            f"median delay {delay}"
        )
    if outcome.legible is not None:
        lines += outcome.legible.doubts()
    if outcome.unscored and not outcome.complaint:
        lines.append(outcome.unscored)
    lines += outcome.not_counted
    return "\n".join(map(common.printable, lines))
