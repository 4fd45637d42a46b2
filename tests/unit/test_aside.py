"""Calls that run on a thread beside the loop."""

from __future__ import annotations

import threading
import time
import weakref

import pytest

from anomaly_daemon.daemon.aside import Aside

FIRST, SECOND = object(), object()


class Held:
    """Stands for a large result."""


def until(aside: Aside[str], key: object, answer: str = "") -> str:
    """Ask as the loop does, repeatedly, until there is a result."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        if (found := aside.result(key, lambda: answer)) is not None:
            return found
    raise AssertionError("no result")


def test_the_loop_goes_on_while_a_call_is_under_way() -> None:
    aside, go_on = Aside[str](threaded=True), threading.Event()

    def slow() -> str:
        assert go_on.wait(10)
        return "done"

    assert aside.result(FIRST, slow) is None
    assert aside.result(FIRST, slow) is None
    go_on.set()
    assert until(aside, FIRST) == "done"


def test_the_next_call_waits_for_the_one_under_way() -> None:
    aside, go_on, began = Aside[str](threaded=True), threading.Event(), []
    aside.result(FIRST, lambda: str(go_on.wait(10)))
    assert aside.result(SECOND, lambda: began.append("too early") or "never") is None
    assert began == []
    go_on.set()
    assert until(aside, FIRST) == "True"
    assert until(aside, SECOND, "second") == "second"


def test_a_result_that_nobody_asks_for_any_more_is_dropped() -> None:
    aside = Aside[str](threaded=True)
    aside.result(FIRST, lambda: "unwanted")
    assert until(aside, SECOND, "second") == "second"
    assert aside.result(FIRST, lambda: "anew") in (None, "anew")


def test_a_result_is_let_go_of_when_nobody_waits_for_it() -> None:
    """The result may be the state of a million streams, and no other partition may come that would replace it."""
    held: list[weakref.ref[Held]] = []

    def hold() -> Held:
        made = Held()
        held.append(weakref.ref(made))
        return made

    threaded, go_on = Aside[Held](threaded=True), threading.Event()
    threaded.result(FIRST, lambda: (go_on.wait(10), hold())[1])
    threaded.drop_unless([FIRST])
    go_on.set()
    deadline = time.monotonic() + 10.0
    while not held and time.monotonic() < deadline:
        threaded.drop_unless([FIRST])
    assert held[0]() is not None, "it is still wanted"
    while held[0]() is not None and time.monotonic() < deadline:
        threaded.drop_unless([SECOND])
    assert held[0]() is None


def test_what_a_call_raises_is_raised_in_the_loop() -> None:
    go_on = threading.Event()

    def fail() -> str:
        assert go_on.wait(10)
        raise ValueError("no good")

    aside = Aside[str](threaded=True)
    aside.result(FIRST, fail)
    go_on.set()
    with pytest.raises(ValueError, match="no good"):
        until(aside, FIRST)


def test_without_a_thread_the_result_is_there_at_once() -> None:
    assert Aside[str](threaded=False).result(FIRST, lambda: "done") == "done"
