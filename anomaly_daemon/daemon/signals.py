"""The signals that ask this process to stop: SIGTERM, SIGINT (Ctrl-C), and SIGHUP, which a terminal sends when it
closes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANG_UP = signal.SIGHUP


@contextmanager
def listening(on_signal: Callable[[], None]) -> Iterator[None]:
    """Call `on_signal` at each of these signals for the duration of the context. It runs in the main thread, between two
    instructions, so it must not wait or log.

    A terminal that closes may send SIGHUP twice, and the second one must not cut short the stop under way. Therefore
    SIGHUP is ignored after the first signal of any kind, as it is from the start under `nohup`.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        signal.signal(HANG_UP, signal.SIG_IGN)
        on_signal()

    wanted = [*SIGNALS, *([] if signal.getsignal(HANG_UP) is signal.SIG_IGN else [HANG_UP])]
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
