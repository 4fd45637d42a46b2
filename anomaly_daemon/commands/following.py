"""A file of lines as it grows, for people who watch it: `tail -F`, but where it is cut it goes on from the cut."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from anomaly_daemon.errors import unread

LOOK_SECONDS = 0.5


def pause() -> None:
    """Before the next look."""
    time.sleep(LOOK_SECONDS)


def follow(path: str, wait: Callable[[], None] = pause) -> Iterator[bytes]:
    """Whole lines that hold anything, for ever. A daemon that starts cuts off what no commit names and writes it anew; a
    file that takes the place of this one is read from its beginning. Raises NoInput or NotPermitted."""
    while True:
        with _opened(path) as file:
            yield from _lines(file, path, wait)


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise unread(path, error) from error


def _lines(file: BinaryIO, path: str, wait: Callable[[], None]) -> Iterator[bytes]:
    """Until another file has this name."""
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
    """Whether another stands there; where none does, one may be on its way."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return not os.path.samestat(there, os.fstat(file.fileno()))
