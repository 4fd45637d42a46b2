"""Structured logs on standard error, as JSON lines or as text for a person. Messages of the Kafka client are included,
but each only once in a while.

No line contains a whole card number, wherever in the line it would come from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from anomaly_daemon.transport.card_numbers import masked

THEIRS = logging.WARNING
"""The Kafka client logs every request at INFO. Therefore only this package's own loggers follow `log.level` below this
level."""
REPEAT_SECONDS = 30.0
"""While a broker is away, the client logs the same message twenty times a second. Each message is let through once in
this many seconds."""
MOST_KINDS = 1000
"""Messages of the client that are remembered. There are far fewer, unless the client writes values into the messages
themselves."""


class Repeats(logging.Filter):
    """Lets each message of the Kafka client through once in `REPEAT_SECONDS`, whatever values are put into it. The next
    one that passes has the number of messages suppressed before it, as `left_out`. Messages of other loggers always
    pass."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}
        """By logger and message: when it was last let through, and how many were suppressed since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is logged. Called by the thread that logs."""
        if record.name.partition(".")[0] != "kafka":
            return True
        kind, now = (record.name, str(record.msg)), time.monotonic()
        with self._lock:
            last, left_out = self._kinds.get(kind, (-REPEAT_SECONDS, 0))
            passes = now - last >= REPEAT_SECONDS
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            self._kinds[kind] = (now, 0) if passes else (last, left_out + 1)
        if passes and left_out:
            record.left_out = left_out
        return passes


def configure(format: str, level: str, stream: TextIO, **bound: str) -> None:  # noqa: A002 - the setting's name
    """Route structlog and the standard library's logging to `stream`, from `level` on.

    `format` is json, console, or auto (console on a terminal). `bound` is added to every line.
    """
    console = format == "console" or (format == "auto" and stream.isatty())
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        _with(bound),
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
    lines = _to(stream, shared, console)
    lines.addFilter(Repeats())
    root.addHandler(lines)
    root.setLevel(max(least, THEIRS))
    logging.getLogger("anomaly_daemon").setLevel(least)


def _with(bound: Mapping[str, str]) -> Processor:
    """Return a processor that adds `bound` to every line, whichever thread logs. Context variables would be set only in
    the thread that configured logging."""

    def add(_logger: Any, _name: str, line: EventDict) -> EventDict:
        return {**line, **bound}

    return add


def begun(windows: Sequence[str], doubts: Sequence[str]) -> FilteringBoundLogger:
    """Return this package's logger, after logging what an operator may have forgotten: the mute windows, and what is
    doubtful about them."""
    log: FilteringBoundLogger = structlog.get_logger("anomaly_daemon")
    if windows:
        log.info("mute windows are configured", names=list(windows))
    for doubt in doubts:
        log.warning("questionable mute window", reason=doubt)
    return log


def _to(stream: TextIO, shared: list[Processor], console: bool) -> logging.Handler:
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty()), _masked_line]
        if console
        else [structlog.processors.dict_tracebacks, _masked_values, structlog.processors.JSONRenderer()]
    )
    lines = logging.StreamHandler(stream)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    return lines


def _masked_line(_logger: Any, _name: str, line: Any) -> str:
    return masked(str(line))


def _masked_values(_logger: Any, _name: str, line: EventDict) -> EventDict:
    """Mask card numbers in strings only: a number in quotes stays a string, and a number a number."""
    return {name: _masked(value) for name, value in line.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {name: _masked(one) for name, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list | tuple) else value
