"""`backtest --gate`: regression cases made from labelled alerts, and whether this configuration still passes them."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_daemon.commands import common
from anomaly_daemon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.report.cases import Case, Verdict
    from anomaly_daemon.report.summary import Outcome


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gate",
        type=Path,
        metavar="CASES",
        help="fail where an alert labelled true is missed, or one labelled false is raised",
    )
    parser.add_argument(
        "--alerts", metavar="FILE", help="with --gate: published alerts; those that have labels become new cases"
    )
    parser.add_argument(
        "--feedback", metavar="FILE", help="with --gate: labels that people gave to alerts; kept in CASES permanently"
    )


def refuse_idle(args: argparse.Namespace) -> None:
    """Raise UsageError where --alerts or --feedback is given without --gate, and would have no effect."""
    idle = [f"--{name}" for name in ("alerts", "feedback") if getattr(args, name) is not None]
    if idle and not args.gate:
        raise UsageError(f"{' and '.join(idle)}: only used with --gate CASES, which names the file of cases")


def passed(cases: tuple[Case, ...], outcome: Outcome, args: argparse.Namespace) -> int:
    """Judge the cases, print the verdicts and return the exit code. Cases whose time range the records do not cover are
    reported, and do not count as passed."""
    from anomaly_daemon.report.cases import judge

    verdicts = judge(cases, outcome.episodes, outcome.tally.spans, outcome.tally.recordings_of)
    for verdict in verdicts:
        if args.json:
            common.print_json({"case": {"passed": verdict.passed, **_fields(verdict)}})
    counts = Counter(verdict.passed for verdict in verdicts)
    if not args.json:
        rows = [
            [_word(one), *(str(value) for value in _fields(one).values())] for one in verdicts if one.passed is not True
        ]
        if rows:
            print("\n" + common.table(["case", "alert", "label", "stream", "kind", "from", "to"], rows))
        print(f"\ngate: {counts[True]} cases passed, {counts[False]} failed, {counts[None]} not in the records")
    if counts[False]:
        return ExitCode.DIFFERENT
    return ExitCode.OK if counts[True] else ExitCode.NOT_COMPARABLE


def cases_of(args: argparse.Namespace) -> tuple[Case, ...]:
    """Return the cases of the --gate file, together with those that --alerts and --feedback add. The file is created
    where it is missing, and rewritten with the new cases where there is feedback."""
    from anomaly_daemon.report.cases import DECIDING, decode, with_new
    from anomaly_daemon.report.episodes import EpisodeBook
    from anomaly_daemon.transport import alert_codec
    from anomaly_daemon.transport.feedback_codec import labels, of_file

    known = [decode(line) for line in common.lines(str(args.gate))] if args.gate.exists() else []
    book, feedback = EpisodeBook(), args.feedback
    labelled = labels(of_file(feedback, common.lines(feedback))) if feedback else {}
    for alert in common.readable(common.lines(args.alerts) if args.alerts else (), alert_codec.decode):
        book.add(alert)
    cases = with_new(known, book.episodes, labelled)
    _tell_unknown({alert for alert, label in labelled.items() if label in DECIDING} - {case.alert_id for case in cases})
    if labelled or not args.gate.exists():
        _keep(args.gate, cases)
    return cases


def _tell_unknown(alerts: Collection[str]) -> None:
    """Report labels that make no case. They would otherwise be lost without notice."""
    if alerts:
        labels, theirs = ("label", "its alert") if len(alerts) == 1 else ("labels", "their alerts")
        text = f"{len(alerts):,} {labels} skipped, as neither CASES nor --alerts holds {theirs}: {min(alerts)}"
        print(f"anomaly-daemon: {common.printable(text)}{' and others' * (len(alerts) > 1)}", file=sys.stderr)


def _keep(path: Path, cases: tuple[Case, ...]) -> None:
    """Write the file completely or not at all, as it is the only permanent copy of the cases. A link to it stays one."""
    import msgspec

    from anomaly_daemon.transport.files_state import replace_synced

    replace_synced(Path(os.path.realpath(path)), b"".join(msgspec.json.encode(case) + b"\n" for case in cases))


def _fields(verdict: Verdict) -> dict[str, str]:
    from anomaly_daemon.report.episodes import iso

    case = verdict.case
    stretch = {"start": iso(case.start), "end": iso(case.end)}
    return {"alert_id": case.alert_id, "label": case.label, "stream": case.stream, "kind": case.kind, **stretch}


def _word(verdict: Verdict) -> str:
    return {True: "passed", False: "FAILED", None: "not in records"}[verdict.passed]
