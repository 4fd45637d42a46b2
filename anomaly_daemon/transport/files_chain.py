"""Reads several files as one input: each file continues where the one before ends, and so do the offsets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol


class Reader(Protocol):
    @property
    def header(self) -> bytes | None: ...
    @property
    def position(self) -> int: ...
    def read(self, limit: int, timeout_seconds: float) -> list[tuple[int, bytes]]: ...
    def ended(self) -> bool: ...
    def skip_to(self, number: int) -> None: ...
    def close(self) -> None: ...


class AtEnd:
    """The `Reader` of a file that was read to its end, and is closed."""

    def __init__(self, header: bytes | None, position: int) -> None:
        self.header, self.position = header, position

    def read(self, limit: int, timeout_seconds: float) -> list[tuple[int, bytes]]:
        return []

    def ended(self) -> bool:
        return True

    def skip_to(self, number: int) -> None: ...

    def close(self) -> None: ...


class Chain:
    """A `Reader` of several files in sequence. One `read` returns lines of one file only; `header` is that file's."""

    def __init__(self, paths: Sequence[str], opened: Callable[[str], Reader]) -> None:
        self._paths, self._opened = paths, opened
        self._starts = [0]
        """The offset at which each file begins, for the files opened so far."""
        self._reader = opened(paths[0])

    @property
    def header(self) -> bytes | None:
        return self._reader.header

    @property
    def position(self) -> int:
        return self._starts[-1] + self._reader.position

    def read(self, limit: int, timeout_seconds: float) -> list[tuple[int, bytes]]:
        self._go_on()
        return [(self._starts[-1] + number, line) for number, line in self._reader.read(limit, timeout_seconds)]

    def ended(self) -> bool:
        self._go_on()
        return self._reader.ended()

    def skip_to(self, number: int) -> None:
        while number > self.position and not self.ended():
            self.read(number - self.position, 0.0)

    def close(self) -> None:
        self._reader.close()

    def place(self, offset: int) -> tuple[str, int, int]:
        """Return the path of the file that contains this offset, its index in the list, and the offset of its first
        line."""
        at = bisect_right(self._starts, offset) - 1
        return self._paths[at], at, self._starts[at]

    def _go_on(self) -> None:
        """Move to the next file that has lines, if the current one has ended."""
        while self._reader.ended() and len(self._starts) < len(self._paths):
            self._starts.append(self.position)
            self._reader.close()
            self._reader = self._opened(self._paths[len(self._starts) - 1])
