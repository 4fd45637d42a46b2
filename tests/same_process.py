"""Runs a command of the program in the process of its test, because starting another takes seconds for torch alone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from subprocess import CompletedProcess

import pytest
import structlog

from anomaly_daemon import cli


def command(*words: str, stdin: str = "") -> CompletedProcess[str]:
    """Return the command's exit code and output, as if it had run in a separate process."""
    given, out, err = (TextIOWrapper(BytesIO(text.encode()), encoding="utf-8") for text in (stdin, "", ""))
    with pytest.MonkeyPatch.context() as patched, logs_as_before(), redirect_stdout(out), redirect_stderr(err):
        patched.setattr(sys, "stdin", given)
        try:
            code = cli.main(words)
        except SystemExit as ended:  # from argparse
            code = int(ended.code or 0)
    return CompletedProcess(words, code, _text(out), _text(err))


def _text(stream: TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextmanager
def logs_as_before() -> Iterator[None]:
    """Restore the logging configuration afterwards: a command sends all logs of its process to its standard error."""
    loggers = [logging.getLogger(), logging.getLogger("anomaly_daemon")]
    handlers, levels, theirs = list(loggers[0].handlers), [one.level for one in loggers], structlog.get_config()
    try:
        yield
    finally:
        loggers[0].handlers[:] = handlers
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        structlog.configure(**theirs)
