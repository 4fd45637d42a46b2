"""The signals that ask this process to stop: SIGTERM, Ctrl-C, and what a terminal sends when it goes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANG_UP = signal.SIGHUP


@contextmanager
def listening(heard: Callable[[], None]) -> Iterator[None]:
    """Meanwhile `heard` is called at each of them, in the main thread, between two instructions: it may not wait or log.

    A terminal that goes may say so twice, and must not cut short what is stopping: after the first signal of any kind
    that one is ignored, as it is from the start under `nohup`.
    """

    def hear(_number: int, _frame: FrameType | None) -> None:
        signal.signal(HANG_UP, signal.SIG_IGN)
        heard()

    wanted = [*SIGNALS, *([] if signal.getsignal(HANG_UP) is signal.SIG_IGN else [HANG_UP])]
    before = {number: signal.signal(number, hear) for number in wanted}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
