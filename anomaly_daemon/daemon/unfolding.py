"""A sequence of records that are made while earlier ones are being sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from anomaly_daemon.transport.ports import Outgoing


class Unfolding(Sequence[Outgoing]):
    """Makes each record when it is first asked for, and keeps it: a later reader gets the same one. The state that the
    records are made from must not change before the last one is made (`complete`)."""

    def __init__(self, records: Iterable[Outgoing]) -> None:
        self._rest, self._made = iter(records), list[Outgoing]()

    def __iter__(self) -> Iterator[Outgoing]:
        place = 0
        while place < len(self._made) or self._make():
            yield self._made[place]
            place += 1

    def complete(self) -> Sequence[Outgoing]:
        """Make the remaining records, and return all of them."""
        while self._make():
            pass
        return self._made

    def __len__(self) -> int:
        return len(self.complete())

    @overload
    def __getitem__(self, place: int) -> Outgoing: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Outgoing]: ...
    def __getitem__(self, place: int | slice) -> Outgoing | Sequence[Outgoing]:
        return self.complete()[place]

    @property
    def made(self) -> int:
        """The number of records made so far."""
        return len(self._made)

    def _make(self) -> bool:
        """Make one more record. Returns whether there was one."""
        made = next(self._rest, None)
        if made is not None:
            self._made.append(made)
        return made is not None
