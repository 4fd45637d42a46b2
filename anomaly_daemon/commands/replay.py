"""`replay`: recomputes an alert from the records that it was raised on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_daemon.commands import common
from anomaly_daemon.commands.outputs import refuse_undrawable
from anomaly_daemon.errors import ExitCode, NoInput, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.detection.alert import Alert
    from anomaly_daemon.replay.episode import Replayed
    from anomaly_daemon.replay.recorded import Published, Recorded
    from anomaly_daemon.replay.records import Records
    from anomaly_daemon.report.replay_picture import Around
    from anomaly_daemon.settings import Settings

HELP = "recompute an alert from its records: are score and decision identical, and if not, what differs"
EXAMPLE = """\
  anomaly-daemon replay 6f1c0a7be2d94b1f8a3e5d7c9b0f2a41 --config sensors.yaml --picture alert.png
  anomaly-daemon alerts --config sensors.yaml --json --limit 1 | anomaly-daemon replay - --config sensors.yaml
  anomaly-daemon replay 6f1c0a7be2d94b1f8a3e5d7c9b0f2a41 --config sensors.yaml --file alerts.jsonl --json"""

STDIN = "-"
SKEW = timedelta(minutes=5)
"""The largest expected difference between the clocks of daemon and broker, where an alert is looked for by its time."""


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    parser.add_argument(
        "alert", metavar="ALERT_ID", help='the alert\'s id; "-": the alert itself, as JSON on standard input'
    )
    parser.add_argument(
        "--file", metavar="FILE", help="look for the alert in this file of JSON lines, not on the topic"
    )
    parser.add_argument(
        "--model", metavar="FOLDER", help="the model that decided the alert, if model.path now names another"
    )
    parser.add_argument("--records", metavar="PLACE", help="read the records from this copy of their topic or file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the stream around the episode: .png or .svg")
    parser.add_argument("--json", action="store_true", help="one JSON object with everything compared")


def run(args: argparse.Namespace) -> int:
    refuse_undrawable("--picture", args.picture)
    from anomaly_daemon.daemon import logs
    from anomaly_daemon.replay.compare import Verdict
    from anomaly_daemon.report.replay import as_json

    logs.configure("auto", "warning", sys.stderr)
    settings = common.load(args)
    outcome = _replay(settings, _recorded(settings, args), args)
    if args.json:
        common.print_json(as_json(outcome))
    else:
        _print(outcome)
    codes = {Verdict.IDENTICAL: ExitCode.OK, Verdict.DIFFERENT: ExitCode.DIFFERENT}
    return codes.get(outcome.verdict, ExitCode.NOT_COMPARABLE)


def _replay(settings: Settings, recorded: Recorded, args: argparse.Namespace) -> Replayed:
    from anomaly_daemon.registry.reference import read_model
    from anomaly_daemon.replay.episode import BEFORE_RECORDS, replay
    from anomaly_daemon.report.replay_picture import Around

    model, records = read_model(args.model or settings.model.path), _records(settings, recorded, args.records)
    around = Around(recorded.first.stream.key, recorded.first.provenance.first_offset - BEFORE_RECORDS)
    with common.progress("replay") as advance:
        outcome = replay(
            settings,
            model,
            recorded,
            records,
            observers=[around] if args.picture else [],
            progress=advance,
            after=bool(args.picture),
        )
    if args.picture:
        _picture(args.picture, settings, outcome, records, around)
    return outcome


def _records(settings: Settings, recorded: Recorded, place: str | None) -> Records:
    from anomaly_daemon.replay.records import FileRecords, TopicRecords
    from anomaly_daemon.transport.ports import Partition

    provenance = recorded.first.provenance
    kind = TopicRecords if settings.source.kind == "kafka" else FileRecords
    return kind(settings, Partition(provenance.topic, provenance.partition), place or provenance.topic)


def _recorded(settings: Settings, args: argparse.Namespace) -> Recorded:
    """Return the episode: the messages given on standard input, and the others as the file or topic has them. Raises
    UsageError where there is no file or topic to search, NoInput where the alert is not found."""
    from anomaly_daemon.replay.recorded import Recorded, find

    given = _given() if args.alert == STDIN else []
    alert_id = given[0].alert_id if given else args.alert
    file = args.file or _file_of(settings)
    if file == STDIN and not given:
        raise UsageError("the alerts went to standard output: name a copy of them with --file")
    with common.progress("looking for the alert") as advance:
        published = _on_the_topic(settings, _since(given), advance) if file is None else _in_the_file(file)
        found = find(alert_id, published)
    if found is None and not given:
        raise NoInput(f"no alert {alert_id} in {file or settings.sink.alerts_topic}")
    return found.as_given(given) if found is not None else Recorded(tuple(given), None, whole=False)


def _file_of(settings: Settings) -> str | None:
    """Return the file to which these settings publish alerts; None where it is a topic."""
    return None if settings.source.kind == "kafka" else settings.sink.path


def _in_the_file(path: str) -> Iterator[Published]:
    """Yield the lines of the file as messages without headers. Standard output cannot be searched and yields nothing;
    any other file must exist."""
    return ((line, ()) for line in (() if path == STDIN else common.lines(path)))


def _given() -> list[Alert]:
    from anomaly_daemon.transport.alert_codec import decode

    alerts = list(common.readable(common.lines(STDIN), decode))
    if not alerts:
        raise UsageError("no alert on standard input")
    return [alert for alert in alerts if alert.alert_id == alerts[0].alert_id]


def _since(given: list[Alert]) -> str | None:
    """Return the time from which the topic is searched, None for its beginning. Only an alert with the event "open"
    says when the episode's first message was published."""
    from datetime import datetime

    if not given or given[0].event != "open" or given[0].times.published is None:
        return None
    return (datetime.fromisoformat(given[0].times.published) - SKEW).isoformat()


def _on_the_topic(settings: Settings, since: str | None, advance: common.Advance) -> Iterator[Published]:
    from anomaly_daemon.transport.kafka.inspect import read_range

    for batch in read_range(settings.kafka, settings.sink.alerts_topic, since, None):
        advance(len(batch))
        for value, headers in zip(batch.values, batch.headers, strict=True):
            if value is not None:
                yield value, headers


def _print(outcome: Replayed) -> None:
    from anomaly_daemon.report.replay import HEADINGS, rows, verdict

    print(common.printable(verdict(outcome)))
    for note in outcome.notes:
        print(f"note: {note}")
    provenance = outcome.then.first.provenance
    print(f"records {outcome.start} to {outcome.then.last_offset} of {provenance.topic}-{provenance.partition}\n")
    print(common.table(HEADINGS, rows(outcome)))


def _picture(path: Path, settings: Settings, outcome: Replayed, records: Records, around: Around) -> None:
    from anomaly_daemon.replay.episode import before
    from anomaly_daemon.report.replay_picture import Around, draw, together

    first = outcome.then.first
    earlier = Around(first.stream.key, 0)
    for observations in before(settings, outcome, records):
        earlier.values(observations, settings.stream.schema_())
    trace = together((earlier.trace(), around.trace()))
    if trace is None:
        print("no picture: none of the records belongs to the stream", file=sys.stderr)
        return
    draw(path, outcome, trace, [feature.name for feature in settings.stream.numeric])
