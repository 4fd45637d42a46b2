"""A file of alerts is followed as it grows, is truncated, and is replaced."""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from anomaly_daemon.commands.alerts import _in_the_file
from anomaly_daemon.commands.following import follow
from anomaly_daemon.errors import NoInput


def followed(path: Path, *happens: Callable[[], object]) -> Iterator[bytes]:
    """Follow the file. Each time that there is nothing to read, the next of these functions is called."""
    turns = iter(happens)
    return follow(str(path), wait=lambda: next(turns)() and None)


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_what_is_appended_is_shown_line_by_line_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b"1\n")
    grows = [lambda: append(path, b"2"), lambda: append(path, b"2\n\n"), lambda: append(path, b"3\n")]
    assert list(islice(followed(path, *grows), 3)) == [b"1\n", b"22\n", b"3\n"]


def test_where_a_start_cuts_the_file_it_goes_on_from_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b"1\n2\n")

    def cut() -> None:
        with path.open("r+b") as file:
            file.truncate(2)

    assert list(islice(followed(path, cut, lambda: append(path, b"3\n")), 3)) == [b"1\n", b"2\n", b"3\n"]


def test_a_file_in_its_place_is_read_from_its_beginning_and_nothing_of_the_old_one_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b"1\n")

    def rotate() -> None:
        append(path, b"2\n")
        path.rename(tmp_path / "old")

    def anew() -> None:
        path.write_bytes(b"3\n")

    assert list(islice(followed(path, rotate, anew), 3)) == [b"1\n", b"2\n", b"3\n"]


def test_a_file_that_is_not_there_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="No such file"):
        next(follow(str(tmp_path / "absent")))


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """A pipe is read once, because there is no going back in it."""
    pipe = tmp_path / "alerts"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"one\n\ntwo\n",))
    writer.start()
    found = list(_in_the_file(str(pipe), argparse.Namespace(follow=True)))
    writer.join()
    assert found == [b"one\n", b"two\n"]
