"""Bounds calls that have no time limit: kafka-python's begin, commit and abort wait for the coordinator for ever."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anomaly_daemon.errors import ExitCode

Expire = Callable[[str], None]


def end_process(text: str) -> None:
    """End the process at once, without clean-up, which would hang as the call does. The transaction ends by its
    timeout. The reason is reported as for every other end: in the log, and on standard error."""
    log = logging.getLogger("anomaly_daemon")
    log.critical("ended immediately", extra={"reason": text, "exit_code": int(ExitCode.TEMPORARY)})
    sys.stderr.write(f"anomaly-daemon: error: {text}\n")
    sys.stderr.flush()
    os._exit(ExitCode.TEMPORARY)


@contextmanager
def watch(doing: str, seconds: float, expire: Expire = end_process) -> Iterator[None]:
    """Call `expire` from a thread of its own when the block has not ended within `seconds`."""
    text = f"{doing} has not ended within {seconds:g} s (limits.retry_seconds): no answer from Kafka"
    timer = threading.Timer(seconds, expire, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
