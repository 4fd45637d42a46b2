"""`dead-letters`: shows the records that could not be read, to people and to scripts."""

from __future__ import annotations

import argparse
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from anomaly_daemon.commands import common
from anomaly_daemon.commands.unreadable import UnreadableMessages
from anomaly_daemon.errors import ConfigurationError, Incompatible, TooManyMalformed, UsageError

if TYPE_CHECKING:
    from anomaly_daemon.settings import Settings
    from anomaly_daemon.transport.dead_letters import Letter

HELP = "show records that could not be read: why, where they came from, how they begin"
EXAMPLE = """\
  anomaly-daemon dead-letters --config sensors.yaml
  anomaly-daemon dead-letters --config sensors.yaml --reason bad_time --limit 5
  anomaly-daemon dead-letters --file dead-letters.jsonl --json | jq -r '.value | @base64d'"""

NEWEST = 20
"""Number of dead letters shown without --json where --limit is not given."""
BEGINNING = 160
"""Number of characters of a record's key or value that are shown."""


class Place(NamedTuple):
    """The order of dead letters: by the time at which they were written, then by partition and offset. In a file only
    the line number counts, as `offset`."""

    timestamp: int
    partition: int
    offset: int


Found = tuple[Place, "Letter"]


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_config_arguments(parser)
    parser.add_argument("--file", metavar="FILE", help='a file of dead letters; "-": standard input')
    parser.add_argument("--reason", help="only those refused for this reason, such as bad_time")
    parser.add_argument(
        "--limit", type=int, metavar="N", help=f"show only the newest N (default: {NEWEST}; with --json all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, bytes in base64")


def run(args: argparse.Namespace) -> int:
    _check(args)
    reasons: Counter[str] = Counter()
    name, read = _read(args)
    found = _counted(read, args.reason, reasons)
    if args.json:
        for _, letter in found if args.limit is None else _newest(found, args.limit):
            common.print_json(letter.as_mapping())
    else:
        _print(_newest(found, args.limit or NEWEST), reasons, name)
    return 0


def _check(args: argparse.Namespace) -> None:
    from anomaly_daemon.transport.rejection import Reason

    if args.limit is not None and args.limit < 1:
        raise UsageError("--limit: at least 1")
    if args.reason is not None and args.reason not in tuple(Reason):
        raise UsageError(f"--reason {args.reason}: must be one of {', '.join(Reason)}")


def _read(args: argparse.Namespace) -> tuple[str, Iterator[Found]]:
    """Return the name of the file or topic that holds the dead letters, and all of them."""
    if args.file:
        return args.file, _in_the_file(args.file)
    settings = common.load(args)
    if settings.source.kind == "kafka":
        return settings.sink.dead_letter_topic, _on_the_topic(settings)
    if settings.sink.dead_letter_path is None:
        raise ConfigurationError("no dead letters are kept: set sink.dead_letter_path to a file to keep them in")
    if settings.sink.dead_letter_path == common.STDIN:
        raise UsageError("the dead letters go to standard output (sink.dead_letter_path): name a copy with --file")
    return settings.sink.dead_letter_path, _in_the_file(settings.sink.dead_letter_path)


def _in_the_file(path: str) -> Iterator[Found]:
    from anomaly_daemon.transport.dead_letters import of_json

    unreadable = UnreadableMessages()
    for line, content in enumerate(common.lines(path)):
        if (letter := _letter(partial(of_json, content), unreadable)) is not None:
            yield Place(0, 0, line), letter
    if unreadable.are_all():
        raise TooManyMalformed(f"{path}: none of its {unreadable.count:,} lines is a dead letter of this program")


def _on_the_topic(settings: Settings) -> Iterator[Found]:
    from anomaly_daemon.transport.dead_letters import of_record
    from anomaly_daemon.transport.kafka.inspect import read_range
    from anomaly_daemon.transport.ports import Outgoing

    unreadable = UnreadableMessages()
    with common.progress("dead letters") as advance:
        for batch in read_range(settings.kafka, settings.sink.dead_letter_topic, None, None):
            advance(len(batch))
            records = map(Outgoing, batch.keys, batch.values, batch.headers)
            for timestamp, offset, record in zip(
                batch.timestamps.tolist(), batch.offsets.tolist(), records, strict=True
            ):
                if (letter := _letter(partial(of_record, record), unreadable)) is not None:
                    yield Place(timestamp, batch.partition.partition, offset), letter


def _letter(read: Callable[[], Letter], unreadable: UnreadableMessages) -> Letter | None:
    try:
        letter = read()
    except Incompatible as error:
        unreadable.note(error)
        return None
    unreadable.note_readable()
    return letter


def _counted(read: Iterable[Found], reason: str | None, reasons: Counter[str]) -> Iterator[Found]:
    for place, letter in read:
        if reason in (None, letter.reason):
            reasons[letter.reason] += 1
            yield place, letter


def _newest(found: Iterable[Found], limit: int) -> list[Found]:
    """Return the `limit` newest dead letters, the newest last. No more than `limit` are held in memory at a time."""
    return heapq.nlargest(limit, found, key=lambda one: one[0])[::-1]


def _print(newest: list[Found], reasons: Counter[str], name: str) -> None:
    """Print two lines for each dead letter (what is known of the record, and how its value begins), then the counts by
    reason."""
    for _, letter in newest:
        origin = f"{letter.topic}/{letter.partition}/{letter.offset}"
        key = "" if letter.key is None else f"  key {_text(letter.key)}"
        print(common.printable(f"{letter.reason}  {origin}{key}  {letter.stage}: {letter.detail}"))
        print("    (no value)" if letter.value is None else f"    {_text(letter.value)}")
    counts = common.printable(", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()))
    total = reasons.total()
    summary = f"{name}: {total:,} dead letter{'' if total == 1 else 's'}" + (f": {counts}" if counts else "")
    print(("\n" if newest else "") + summary + (f"; the newest {len(newest)} are shown" if len(newest) < total else ""))


def _text(value: bytes) -> str:
    """Return the beginning of `value` as printable text, whatever it holds, and its size in bytes where it is cut."""
    text = common.printable(value[: 4 * BEGINNING].decode("utf-8", "replace"))
    whole = len(text) <= BEGINNING and len(value) <= 4 * BEGINNING
    return text if whole else f"{text[:BEGINNING]}… {len(value):,} bytes"
