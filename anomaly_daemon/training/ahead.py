"""The next batch is made while the device works on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def one_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
    """Each item and what is made of it, in order; the one after it is under way on a thread meanwhile."""
    with ThreadPoolExecutor(1, "batches") as pool:
        waiting: tuple[Item, Future[Made]] | None = None
        for item in items:
            following = item, pool.submit(make, item)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()
