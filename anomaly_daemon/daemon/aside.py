"""Runs work beside the loop: one call at a time, on a thread of its own, so that the loop goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """Runs one call at a time for the loop, which asks again and again for its result. At most one result is held."""

    def __init__(self, *, threaded: bool) -> None:
        """Without `threaded` a call is made at once in the caller's thread, and the loop waits for it."""
        self._threaded = threaded
        self._key: object = None
        self._future: Future[T] | None = None

    def result(self, key: object, call: Callable[[], T]) -> T | None:
        """Return what `call` returned for this key, once. Return None while the call is running, or has to wait until a
        call for another key has ended. Keys are compared by identity. Raises what the call raised. A finished result is
        dropped when another key is asked for instead."""
        if self._future is None or (self._key is not key and self._future.done()):
            self._key, self._future = key, Future()
            self._begin(self._future, call)
        if self._key is not key or not self._future.done():
            return None
        future, self._future, self._key = self._future, None, None
        return future.result()

    def drop_unless(self, wanted: Collection[object]) -> None:
        """Drop a finished result whose key is not in `wanted`. No caller will ask for it, and it may be the state of a
        whole partition."""
        if self._future is not None and self._future.done() and self._key not in wanted:
            self._future = self._key = None

    def _begin(self, future: Future[T], call: Callable[[], T]) -> None:
        if self._threaded:
            # The thread is not joined at the end: its call may be waiting for a broker that never answers.
            threading.Thread(target=_fulfil, args=(future, call), name="take-over", daemon=True).start()
        else:
            _fulfil(future, call)


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # raised again in the loop, by `result`
        future.set_exception(error)
