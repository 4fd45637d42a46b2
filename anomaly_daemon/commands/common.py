"""What several commands share: where the configuration comes from, and how they talk to a terminal or a script."""

from __future__ import annotations

import argparse
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
"""The path that is standard input, or output."""


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --set, the same for every command that reads a configuration."""
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
    """The settings that --config and --set ask for; `more` are the command's own overrides, below --set."""
    from anomaly_daemon.configuration import load as load_settings

    for override in args.overrides:
        if "=" not in override:
            raise UsageError(f"--set {override}: write it as section.key=value")
    return load_settings(args.config, [*more, *args.overrides])


def lines(path: str) -> Iterator[bytes]:
    """The lines of a file that hold anything; "-" is standard input. Raises NoInput or NotPermitted."""
    if path == STDIN:
        yield from (line for line in sys.stdin.buffer if line.strip())
        return
    try:
        with Path(path).open("rb") as file:
            yield from (line for line in file if line.strip())
    except OSError as error:
        raise unread(path, error) from error


def files(named: Iterable[str]) -> list[str]:
    """Those that are named; of a folder, and of a pattern that the shell has left alone, the files in order of their
    names, by number where they have one: part-2 before part-10. Raises NoInput where there are none."""
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
            raise NoInput(f"{name}: no file there")
        found += sorted(within, key=_by_number)
    return found


def _by_number(name: str) -> list[tuple[int, str]]:
    """Digits count as the number that they are."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def readable(values: Iterable[bytes], decode: Callable[[bytes], Value]) -> Iterator[Value]:
    """Those that `decode` reads. Others are told of and passed over: a topic may hold anybody's messages, and digests."""
    for value in values:
        try:
            yield decode(value)
        except Incompatible as error:
            print(f"anomaly-daemon: passed over: {error}", file=sys.stderr)


def note(text: str) -> None:
    """What a person should know, on standard error."""
    print(f"anomaly-daemon: {text}", file=sys.stderr)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person watches `stream` (standard error, where progress goes, unless another is named)."""
    return (stream or sys.stderr).isatty()


class Advance(Protocol):
    """Tell of progress: `amount` more is done, `note` stands beside the bar."""

    def __call__(self, amount: float, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: float | None = None) -> Iterator[Advance]:
    """A bar on standard error while the block runs, moved by the `Advance` it is given; none without a terminal."""
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
    """A bar on standard error for each phase of a training that is told of; none without a terminal."""
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
    """Progress that nobody watches."""


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line of standard output, at once: a script may be reading along."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


def printable(text: Any) -> str:
    """A stream's name, or a record, comes from outside, and must not move the cursor."""
    return "".join(character if character.isprintable() else "�" for character in str(text))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns under their headings; what stands in a cell stays there."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in (headings, *rows)) for place in range(len(headings))]
    widths[-1] = len(headings[-1])
    rule = ["-" * width for width in widths]
    lines = ([f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)] for row in (headings, rule, *rows))
    return "\n".join("  ".join(cells).rstrip() for cells in lines)
