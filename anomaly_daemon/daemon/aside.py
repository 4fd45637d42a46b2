"""Work beside the loop: one call at a time, on a thread of its own, so that the loop goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """Asked again and again by the loop; only one result is ever held."""

    def __init__(self, *, threaded: bool) -> None:
        """Without `threaded` a call is made at once, and the loop waits for it."""
        self._threaded = threaded
        self._key: object = None
        self._future: Future[T] | None = None

    def result(self, key: object, call: Callable[[], T]) -> T | None:
        """What `call` returned for this key (told from others by its identity), once; None while it is under way, or
        waits for another. Raises what it raised. A result that nobody asked for any more is dropped."""
        if self._future is None or (self._key is not key and self._future.done()):
            self._key, self._future = key, Future()
            self._begin(self._future, call)
        if self._key is not key or not self._future.done():
            return None
        future, self._future, self._key = self._future, None, None
        return future.result()

    def drop_unless(self, wanted: Collection[object]) -> None:
        """Let go of a result that nobody will ask for: it may be a whole partition's state."""
        if self._future is not None and self._future.done() and self._key not in wanted:
            self._future = self._key = None

    def _begin(self, future: Future[T], call: Callable[[], T]) -> None:
        if self._threaded:
            # Not joined at the end: what it waits for may be a broker that never answers.
            threading.Thread(target=_fulfil, args=(future, call), name="take-over", daemon=True).start()
        else:
            _fulfil(future, call)


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # raised in the loop, by `result`
        future.set_exception(error)
