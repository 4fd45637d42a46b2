"""Follows a file of lines as it grows, like `tail -F`. Where the file is truncated, reading continues at the new end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from anomaly_daemon.errors import unread

LOOK_SECONDS = 0.5


def pause() -> None:
    """Wait `LOOK_SECONDS` before the next check of the file."""
    time.sleep(LOOK_SECONDS)


def follow(path: str, wait: Callable[[], None] = pause) -> Iterator[bytes]:
    """Yield the complete lines of a file that are not blank, for ever. A daemon that starts truncates the file to what
    its last commit covers, and writes the rest again. If another file takes the place of this one, that file is read
    from its beginning. Raises NoInput or NotPermitted."""
    while True:
        with _opened(path) as file:
            yield from _lines(file, path, wait)


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise unread(path, error) from error


def _lines(file: BinaryIO, path: str, wait: Callable[[], None]) -> Iterator[bytes]:
    """Yield the complete lines of the open file until another file has its name."""
    while True:
        begins, replaced = file.tell(), _replaced(file, path)
        line = file.readline()
        if line.endswith(b"\n"):
            if line.strip():
                yield line
            continue
        if replaced:
            return
        file.seek(min(begins, os.fstat(file.fileno()).st_size))
        wait()


def _replaced(file: BinaryIO, path: str) -> bool:
    """Whether another file has this path now. Where no file has it, a new one may be about to appear."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return not os.path.samestat(there, os.fstat(file.fileno()))
