"""Reads lines from a file or pipe, with a limit on the length of each, and without waiting longer than asked."""

from __future__ import annotations

import os
import select
from collections import deque
from itertools import islice

from anomaly_daemon.errors import unread

CHUNK = 1 << 18
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_WAIT = 2**31 - 1
"""The longest wait that the system accepts, in milliseconds."""
STRIPPED = len(BYTE_ORDER_MARK) + len(b"\r")
"""The most bytes of a line that are removed from it, and do not count for its length."""


class Lines:
    """Numbered lines, from 0, without their line ends. Blank lines take a number but are not returned."""

    def __init__(
        self,
        descriptor: int,
        *,
        header: bool,
        longest: int,
        first: int = 0,
        leave_unended: bool = False,
        name: str = "standard input",
    ) -> None:
        """`header`: the first line names the columns. A line of more than `longest` bytes is truncated to `longest` + 1 of
        them, so that its reader sees that it is too long. A header is only truncated where its chunk ends before it.

        `first` is the number of the first line, for a pipe that continues the numbering of an earlier one.
        `leave_unended`: a last line without a line end is not returned, as its writer may not have finished it.
        `name` is that of the input in messages.
        """
        self._descriptor, self._wants_header, self._longest = descriptor, header, longest
        self._leave_unended, self._name = leave_unended, name
        self._ready: deque[tuple[int, bytes]] = deque()
        self._rest, self._cut = b"", False
        self._count = first
        self._at_start = True
        self._poll = select.poll()  # not `select.select`, which takes no descriptor from 1024 on
        self._poll.register(descriptor, select.POLLIN)
        self._closed_input = False
        self.header: bytes | None = None
        self.position = first
        """The number of the next line to return."""

    def read(self, limit: int, timeout_seconds: float) -> list[tuple[int, bytes]]:
        """Return at most `limit` lines with their numbers; [] if none arrived in time, or at the end. Raises NoInput if
        the input fails, as a disk or a network's folder may."""
        while not self._ready and not self._closed_input and self._readable(timeout_seconds):
            self._fill()
        lines = list(islice(self._ready, limit))
        for _ in lines:
            self._ready.popleft()
        self.position = self._ready[0][0] if self._ready else self._count
        return lines

    def ended(self) -> bool:
        return self._closed_input and not self._ready

    def skip_to(self, number: int) -> None:
        """Skip the lines below `number`, or all lines if there are fewer."""
        while not self.ended():
            while self._ready and self._ready[0][0] < number:
                self._ready.popleft()
            if self._ready:
                break
            self._fill()
        self.position = max(min(number, self._count), self.position)

    def close(self) -> None:
        os.close(self._descriptor)

    def _readable(self, timeout_seconds: float) -> bool:
        return bool(self._poll.poll(min(1000 * timeout_seconds, LONGEST_WAIT)))

    def _fill(self) -> None:
        try:
            chunk = os.read(self._descriptor, CHUNK)
        except OSError as error:
            raise unread(self._name, error) from error
        if not chunk:
            self._closed_input = True
            if self._rest and not self._leave_unended:
                self._take(self._rest)
            return
        first, *others = chunk.split(b"\n")
        self._rest = self._rest if self._cut else self._rest + first
        for part in others:
            self._take(self._rest)
            self._rest, self._cut = part, False
        most = self._longest + 1 + STRIPPED
        if len(self._rest) > most:  # a line without an end must not fill the memory
            self._rest, self._cut = self._rest[:most], True

    def _take(self, line: bytes) -> None:
        number = self._count
        self._count += 1
        line = line.removesuffix(b"\r")
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BYTE_ORDER_MARK)
            if self._wants_header:
                self.header = line
                return
        if len(line) > self._longest or line.strip():  # a cut line may be blank only as far as it is known
            self._ready.append((number, line[: self._longest + 1]))
