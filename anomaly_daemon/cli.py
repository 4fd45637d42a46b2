"""`anomaly-daemon`: finds the command, runs it, and turns an error that it raises into one message and a named exit
code."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from anomaly_daemon import __version__
from anomaly_daemon.errors import FULL, DaemonError, ExitCode

COMMANDS = (
    "demo",
    "init",
    "validate",
    "train",
    "retrain",
    "models",
    "backtest",
    "run",
    "alerts",
    "forward",
    "dead-letters",
    "replay",
    "plan",
)
"""Each is a module of `commands` (with an underscore for a hyphen) that has HELP, EXAMPLE, arguments(parser) and
run(args)."""

NO_PATH = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP})
"""Error numbers of the system for a path that no file can have, such as several names in one pair of quotes."""

HELP_WIDTH = 78
"""Columns to which the text is wrapped here. The formatter that keeps examples unchanged wraps nothing, and terminals
have 80 columns."""

INTERRUPTED = 130
"""The exit code that a shell shows for a process ended by Ctrl-C."""

BROKEN_PIPE = 141
"""The exit code that a shell shows for a writer whose reader (`| head`) has gone."""


class Parser(argparse.ArgumentParser):
    """An argument parser that exits with EX_USAGE after a usage error."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        if "unrecognized arguments" in message and re.search(r"arguments: [^- ][^ ]*\.ya?ml\b", message):
            message += " (the configuration is named with --config)"
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    _open_closed()
    chosen = list(sys.argv[1:] if arguments is None else arguments)
    args = parser(chosen).parse_args(chosen)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
    except DaemonError as error:
        return _bug() if error.exit_code is ExitCode.BUG else _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            return _say(
                f"there is no room on disk for a file ({error}): make room, and run the same command again",
                ExitCode.UNAVAILABLE,
            )
        if isinstance(error, PermissionError):
            what = error.filename or "a file"
            return _say(f"{what}: this user may not read or write it ({error.strerror})", ExitCode.NOT_PERMITTED)
        if isinstance(error, OSError) and error.errno in NO_PATH:
            return _say(f"{error.filename or 'a path'}: {error.strerror}", ExitCode.NO_INPUT)
        return _bug()
    return code


def _open_closed() -> None:
    """Read nothing from, and discard what is written to, a standard stream that the caller has closed (`>&-`): it is
    None here, and a file or socket would otherwise get its number. A character that the encoding of standard output
    does not have is written as "?"."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def parser(arguments: Sequence[str]) -> Parser:
    """Return the parser for this command line. Where it names a command, only that command's module is imported."""
    top = Parser(
        prog="anomaly-daemon",
        description="Streaming anomaly detection on Kafka. `anomaly-daemon COMMAND --help` shows an example of each.",
        epilog="Try it without Kafka: anomaly-daemon demo",
    )
    top.add_argument("--version", action="version", version=f"anomaly-daemon {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    named = arguments[0] if arguments and arguments[0] in COMMANDS else None
    for name in COMMANDS if named is None else (named,):
        module = command(name)
        one = commands.add_parser(
            name,
            help=module.HELP,
            description=textwrap.fill(module.HELP, HELP_WIDTH),
            epilog=f"example:\n{module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(one)
        one.set_defaults(run=module.run)
    return top


def command(name: str) -> ModuleType:
    """Return the module of a command."""
    return importlib.import_module(f"anomaly_daemon.commands.{name.replace('-', '_')}")


def _bug() -> int:
    traceback.print_exc()
    return _say("this is a bug; please report it with the lines above", ExitCode.BUG)


def _say(message: str, code: ExitCode) -> int:
    print(f"anomaly-daemon: error: {message}", file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
