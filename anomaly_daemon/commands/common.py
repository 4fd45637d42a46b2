"""What several commands share: where the configuration comes from, how files are read, and output to a terminal or a
script."""

from __future__ import annotations

import argparse
import codecs
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

from anomaly_daemon.errors import Incompatible, NoInput, UsageError, unread

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from anomaly_daemon.settings import Settings
    from anomaly_daemon.training.under_way import Tell


Value = TypeVar("Value")

STDIN = "-"
"""The path that stands for standard input or standard output."""


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --config and --set, which are the same for every command that reads a configuration."""
    parser.add_argument("--config", "-c", type=Path, metavar="FILE", help="the configuration, a YAML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="override one key; lists are JSON; may be repeated",
    )


def load(args: argparse.Namespace, *more: str) -> Settings:
    """Return the settings that --config and --set give. `more` holds the command's own overrides, which --set takes
    precedence over. Raises UsageError for a --set without "="."""
    from anomaly_daemon.configuration import load as load_settings

    for override in args.overrides:
        if "=" not in override:
            raise UsageError(f"--set {override}: write it as section.key=value")
    return load_settings(args.config, [*more, *args.overrides])


def lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file that are not blank; "-" is standard input. Raises NoInput or NotPermitted."""
    if path == STDIN:
        yield from (line for line in sys.stdin.buffer if line.strip())
        return
    try:
        with Path(path).open("rb") as file:
            yield from (line for line in file if line.strip())
    except OSError as error:
        raise unread(path, error) from error


def refuse_read_twice(*inputs: tuple[str, str | None], again: str | None = None) -> None:
    """Raise UsageError where standard input would have to be read more than once. `inputs` are pairs of an option and
    the path that it names. `again`: the option because of which every input is read more than once, if there is one."""
    piped = [option for option, path in inputs if path == STDIN]
    if again is not None and piped:
        raise UsageError(
            f'{" and ".join(piped)}: with {again} this is read more than once, and standard input ("-") can be read only '
            "once: name a file"
        )
    if len(piped) > 1:
        raise UsageError(f'{" and ".join(piped)}: standard input ("-") can be read only once: name a file')


def files(named: Iterable[str]) -> list[str]:
    """Return the named files. For a folder, or a pattern that the shell has not expanded, these are its files, sorted
    by name with numbers compared as numbers (part-2 before part-10). Raises NoInput where a folder or pattern yields no
    file."""
    found = list[str]()
    for name in named:
        path = Path(name)
        if path.is_dir():
            within = [str(one) for one in path.iterdir() if one.is_file() and not one.name.startswith(".")]
        elif any(sign in name for sign in "*?[") and not path.exists():
            within = [one for one in glob(name, recursive=True) if Path(one).is_file()]
        else:
            within = [name]
        if not within:
            raise NoInput(f"{name}: no such file")
        found += sorted(within, key=_by_number)
    return found


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key that compares runs of digits as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def readable(values: Iterable[bytes], decode: Callable[[bytes], Value]) -> Iterator[Value]:
    """Yield what `decode` makes of each value. Values that it cannot read are reported on standard error and skipped: a
    topic may hold messages of other programs, and digests."""
    for value in values:
        try:
            yield decode(value)
        except Incompatible as error:
            print(f"anomaly-daemon: skipped: {error}", file=sys.stderr)


def text(given: str) -> str:
    """Parse a text that is stored or published, in the form that argparse expects. Bytes of the command line that are
    not UTF-8 are a usage error: JSON has no place for them, and what held them could not be read again."""
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(f"{printable(given)!r} is not UTF-8 text") from error
    return given


def note(text: str) -> None:
    """Print a message for the operator on standard error."""
    print(f"anomaly-daemon: {text}", file=sys.stderr)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether `stream` is a terminal. The default is standard error, where progress bars are drawn."""
    return (stream or sys.stderr).isatty()


class Advance(Protocol):
    """Reports progress: `amount` more is done; `note` is shown beside the bar."""

    def __call__(self, amount: float, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: float | None = None) -> Iterator[Advance]:
    """Draw a progress bar on standard error while the block runs; the block moves it with the `Advance` that it is
    given. Without a terminal there is no bar."""
    if not is_terminal():
        yield _silent
        return
    with _bars() as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(amount: float, note: str = "") -> None:
            bar.update(task, advance=amount, note=note)

        yield advance


@contextmanager
def phases() -> Iterator[Tell]:
    """Draw a bar on standard error for each phase of a training that is reported to the `Tell` given to the block.
    Without a terminal there are none."""
    if not is_terminal():
        yield lambda phase, share, note="": None
        return
    with _bars() as live:
        tasks: dict[str, TaskID] = {}

        def tell(phase: str, share: float, note: str = "") -> None:
            if phase not in tasks:
                for done in tasks.values():
                    live.update(done, total=1.0, completed=1.0)
                tasks[phase] = live.add_task(phase, total=None if math.isnan(share) else 1.0, note=note)
            live.update(tasks[phase], completed=None if math.isnan(share) else share, note=note)

        yield tell
        for done in tasks.values():
            live.update(done, total=1.0, completed=1.0)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(
        *columns,
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        redirect_stdout=is_terminal(sys.stdout),  # else a script's lines would go to standard error
    )


def _silent(amount: float, note: str = "") -> None:
    """Report no progress: there is no terminal."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object on one line of standard output and flush it, as a script may read along. Where the locale's
    encoding is not UTF-8, other characters than those of ASCII are escaped."""
    unicode = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8"
    print(json.dumps(value, ensure_ascii=not unicode, allow_nan=False), flush=True)


def printable(text: Any) -> str:
    """Return the text with every character that is not printable replaced. Stream names and records come from outside,
    and must not move the cursor."""
    return "".join(character if character.isprintable() else "�" for character in str(text))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as aligned columns under their headings. The text of a cell cannot move the cursor out of it."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in (headings, *rows)) for place in range(len(headings))]
    widths[-1] = len(headings[-1])
    rule = ["-" * width for width in widths]
    lines = ([f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)] for row in (headings, rule, *rows))
    return "\n".join("  ".join(cells).rstrip() for cells in lines)
