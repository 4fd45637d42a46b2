"""Structured logs on standard error: a line of JSON, or text for a person. The Kafka client's lines come along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

THEIRS = logging.WARNING
"""The Kafka client tells of every request at INFO; ours alone follow `log.level` below this."""


def configure(format: str, level: str, stream: TextIO, **bound: str) -> None:  # noqa: A002 - the setting's name
    """Route structlog and the standard library's logging to `stream`, from `level` on.

    `format` is json, console, or auto (console on a terminal). `bound` stands in every line.
    """
    console = format == "console" or (format == "auto" and stream.isatty())
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(_to(stream, shared, console))
    root.setLevel(max(least, THEIRS))
    logging.getLogger("anomaly_daemon").setLevel(least)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)


def begun(windows: Sequence[str], doubts: Sequence[str]) -> FilteringBoundLogger:
    """Our logger. It begins with what an operator may have forgotten: the mute windows, and what is doubtful about them."""
    log: FilteringBoundLogger = structlog.get_logger("anomaly_daemon")
    if windows:
        log.info("there are mute windows", names=list(windows))
    for doubt in doubts:
        log.warning("a mute window should be looked at", reason=doubt)
    return log


def _to(stream: TextIO, shared: list[Processor], console: bool) -> logging.Handler:
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if console
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
    lines = logging.StreamHandler(stream)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    return lines
