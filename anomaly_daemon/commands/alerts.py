"""`alerts`: shows the alert topic, or a file of alerts, to people and to scripts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anomaly_daemon.commands import common
from anomaly_daemon.commands.following import follow
from anomaly_daemon.commands.numbers import percentage
from anomaly_daemon.commands.unreadable import UnreadableMessages
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.errors import Incompatible, TooManyMalformed, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.detection.alert import Alert
    from anomaly_daemon.settings import Settings

HELP = "show alerts as they are published: a table for people, JSON lines for scripts"
EXAMPLE = """\
  anomaly-daemon alerts --config sensors.yaml
  anomaly-daemon alerts --config sensors.yaml --no-follow --json --kind pattern | jq .severity
  anomaly-daemon alerts --file alerts.jsonl --stream 'plant-1/*' --min-severity 70"""

HEADINGS = ("event time", "event", "kind", "severity", "stream", "reason")
WIDTHS = (19, 6, 7, 8, 28)
"""Widths in characters of every column but the last, which is not cut."""
SEVERE, MODERATE = 75.0, 60.0


class Shown(NamedTuple):
    """One message: an alert, or the digest that stands for alerts that were held back (then `alert` is None)."""

    value: dict[str, Any]
    alert: Alert | None


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    parser.add_argument(
        "--file", metavar="FILE", help='read alerts from this file of JSON lines instead; "-": standard input'
    )
    parser.add_argument("--stream", metavar="GLOB", help="only streams whose key matches, such as 'plant-1/*'")
    parser.add_argument("--kind", choices=[str(kind) for kind in Kind], help="only this kind of anomaly")
    parser.add_argument(
        "--event", choices=[str(event) for event in Event], help="only messages of this event of an episode"
    )
    parser.add_argument(
        "--min-severity", type=percentage, default=0.0, metavar="N", help="0 to 100; 50 is the threshold"
    )
    parser.add_argument("--from-beginning", action="store_true", help="also show what is already on the topic")
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--no-follow", action="store_true", help="show what is already on the topic, and end")
    ends.add_argument("--follow", action="store_true", help="keep reading as the topic or file grows")
    parser.add_argument("--limit", type=int, metavar="N", help="end after this many alerts")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, as published")
    parser.add_argument(
        "--schema", choices=("json", "asyncapi"), help="print the JSON Schema, or the AsyncAPI document, and end"
    )


def run(args: argparse.Namespace) -> int:
    if args.schema:
        print(json.dumps(_schema(args), indent=2))
        return 0
    if args.limit is not None and args.limit < 1:
        raise UsageError("--limit: at least 1")
    unreadable = UnreadableMessages()
    read = _shown(_values(args), unreadable)
    show = common.print_json if args.json else _table()
    most = None if args.limit is None else min(args.limit, sys.maxsize)
    for shown in islice((shown for shown in read if matches(shown, args)), most):
        show(shown.value)
    if args.file and unreadable.are_all():
        raise TooManyMalformed(f"{args.file}: none of its {unreadable.count:,} lines is an alert of this program")
    return 0


def _schema(args: argparse.Namespace) -> dict[str, Any]:
    """Return the schema that --schema asks for. The AsyncAPI document contains the topic and the name from the
    configuration, where one is given."""
    from anomaly_daemon.settings import SinkSettings
    from anomaly_daemon.transport import alert_codec

    if args.schema == "json":
        return alert_codec.json_schema()
    if args.config is None and not args.overrides:
        return alert_codec.asyncapi(SinkSettings().alerts_topic)
    settings = common.load(args)
    return alert_codec.asyncapi(settings.sink.alerts_topic, settings.name)


def _values(args: argparse.Namespace) -> Iterator[bytes]:
    if args.file:
        return _in_the_file(args.file, args)
    settings = common.load(args)
    if settings.source.kind == "files":
        return _in_the_file(_published(settings), args)
    from anomaly_daemon.transport.kafka.inspect import tail

    from_beginning = args.from_beginning or args.no_follow  # --no-follow from the topic's end would find nothing
    found = tail(settings.kafka, settings.sink.alerts_topic, from_beginning, not args.no_follow)
    return (value for _, _, _, value, _ in found if value)


def _in_the_file(path: str, args: argparse.Namespace) -> Iterator[bytes]:
    """Yield the lines of the file. --follow does not apply to a pipe, which is read until its writer closes it."""
    pipe = path == common.STDIN or (Path(path).exists() and not Path(path).is_file())
    return follow(path) if args.follow and not pipe else common.lines(path)


def _published(settings: Settings) -> str:
    if settings.sink.path == common.STDIN:
        raise UsageError("the alerts go to standard output (sink.path): name a copy of them with --file")
    return settings.sink.path


def _shown(values: Iterator[bytes], unreadable: UnreadableMessages) -> Iterator[Shown]:
    import msgspec

    from anomaly_daemon.transport.alert_codec import decode

    for value in values:
        try:
            content = msgspec.json.decode(value, type=dict[str, Any])
            shown = Shown(content, None if "digest" in content else decode(value))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Incompatible) as error:
            unreadable.note(error)
        else:
            unreadable.note_readable()
            yield shown


def matches(shown: Shown, args: argparse.Namespace) -> bool:
    """Whether the message passes the filters. A digest stands for alerts of any sort, so no filter excludes it."""
    alert = shown.alert
    if alert is None:
        return True
    return (
        (args.stream is None or fnmatchcase(alert.stream.key, args.stream))
        and args.kind in (None, alert.kind)
        and args.event in (None, alert.event)
        and alert.severity >= args.min_severity
    )


def _table() -> Any:
    from rich.console import Console
    from rich.text import Text

    class Piped(Console):
        """A console that raises BrokenPipeError where rich would exit the process, so that `cli.main` decides what a
        closed pipe means."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Piped(soft_wrap=True, highlight=False)
    console.print(Text(_row(HEADINGS), style="bold"))

    def show(value: dict[str, Any]) -> None:
        console.print(Text(_row(cells(value)), style=_style(value)))

    return show


def cells(value: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns of one message, made printable whatever it holds."""
    if "digest" in value:
        return tuple(
            map(common.printable, (str(value.get("published", ""))[:19], "digest", "", "", "", value.get("reason", "")))
        )
    moment, severity = value["times"]["event"][:19], f"{value['severity']:.0f}"
    return tuple(
        map(
            common.printable, (moment, value["event"], value["kind"], severity, value["stream"]["key"], value["reason"])
        )
    )


def _style(value: dict[str, Any]) -> str:
    if "digest" in value or value["event"] == Event.CLOSE:
        return "dim"
    return "bold red" if value["severity"] >= SEVERE else "yellow" if value["severity"] >= MODERATE else ""


def _row(columns: tuple[str, ...]) -> str:
    return "  ".join([f"{cell:<{width}.{width}}" for cell, width in zip(columns, WIDTHS, strict=False)] + [columns[-1]])
