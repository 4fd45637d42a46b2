"""Prepare the next batch on a thread while the device works on the current one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def one_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
    """Yield each item together with `make(item)`, in order. While the caller works on one pair, a thread computes the
    next."""
    with ThreadPoolExecutor(1, "batches") as pool:
        waiting: tuple[Item, Future[Made]] | None = None
        for item in items:
            following = item, pool.submit(make, item)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()
