"""The files that a run writes to: each can be truncated to what the last commit names, unless it is a pipe or device."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO, cast

from anomaly_daemon.errors import ConfigurationError, NotPermitted
from anomaly_daemon.transport.files_state import FilesState, Output


class OutputFile:
    """One output: a file that can be truncated, standard output, or nothing."""

    def __init__(self, path: str | None, state: FilesState) -> None:
        self.path = "" if path is None else path
        self.truncatable = path not in (None, "-")
        self._file: BinaryIO | None = sys.stdout.buffer if path == "-" else None
        if self.truncatable:
            opened = self._file = _open_for_appending(self.path)
            self.truncatable = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)  # a pipe or device cannot be truncated
            before = state.committed.outputs.get(self.path)
            if self.truncatable and before is not None and before.inode == os.fstat(opened.fileno()).st_ino:
                self.cut(min(before.length, self._length()))

    def append(self, lines: bytes) -> None:
        if self._file is None or not lines:
            return
        left = memoryview(lines)
        while left:
            left = left[self._file.write(left) :]
        self._file.flush()
        if self.truncatable:
            os.fsync(self._file.fileno())

    def cut(self, length: int) -> None:
        assert self._file is not None
        self._file.truncate(length)

    def committed(self) -> Output:
        assert self._file is not None
        return Output(os.fstat(self._file.fileno()).st_ino, self._length())

    def close(self) -> None:
        if self._file is not None and self.path != "-":
            self._file.close()

    def _length(self) -> int:
        assert self._file is not None
        return os.fstat(self._file.fileno()).st_size


def _open_for_appending(path: str) -> BinaryIO:
    """Unbuffered: a buffer would hold what the disk did not accept, and write it after the delivery was undone."""
    try:
        return cast(BinaryIO, Path(path).open("ab", buffering=0))
    except PermissionError as error:
        raise NotPermitted(f"{path}: this user may not write there: see sink.path and sink.dead_letter_path") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}: see sink.path") from error
