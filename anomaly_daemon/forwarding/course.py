"""The loop of `forward`: reads messages from the alert topic and sends each to the target, until it is stopped.

Between two messages, and while a message waits to be accepted, the loop keeps its membership of the consumer group
alive: see `transport.kafka.subscription`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from anomaly_daemon.forwarding.message import Message, Target
from anomaly_daemon.forwarding.sender import Sender

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from anomaly_daemon.transport.kafka.subscription import Read

ATTRIBUTE = re.compile("ce_[a-z0-9]+")
"""A header that holds an attribute of a CloudEvent. Other headers of the topic are ignored."""
AGAIN_SECONDS = 60.0
"""Seconds between two times that open episodes are sent to the target again."""
STAY_SECONDS = 1.0
"""Seconds between two calls of `stay`, at most. A single request to the target may make it longer."""


class Messages(Protocol):
    """The source of messages: a `Subscription`, which documents each of these methods."""

    def read(self) -> list[Read]: ...

    def stay(self) -> None: ...

    def is_ours(self, one: Read) -> bool: ...

    def done(self, one: Read) -> None: ...

    def joined(self) -> bool: ...


class Course:
    """The loop, run by one thread. `last_turn`, `ready` and the sender's counts may be read by any thread."""

    def __init__(
        self,
        messages: Messages,
        target: Target,
        open_: Callable[..., Any],
        log: FilteringBoundLogger,
        *,
        give_up_seconds: float | None = None,
        turned: Callable[[Course], None] = lambda _course: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`turned` is called about every second, unless a call hangs."""
        self._messages, self._target, self._log, self._turned = messages, target, log, turned
        self.clock, self._sleep = clock, sleep
        self.sender = Sender(target, open_, log, self.wait, clock, give_up_seconds)
        self.ready = False
        """Whether this process is a member of its consumer group."""
        self.last_turn = self._stayed = self._reported_at = clock()

    def run(self) -> None:
        """Run until interrupted. Raises the error with which a message, the target or Kafka ends the loop."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Read what arrives within a second, and send it."""
        before = self.sender.sent, self.sender.refused
        found = self._messages.read()
        self._note()
        for one in found:
            self._pass_on(one)
        if before != (self.sender.sent, self.sender.refused):
            self._log.info("sent", sent=self.sender.sent, refused=self.sender.refused)

    def _pass_on(self, one: Read) -> None:
        if self.clock() - self._stayed >= STAY_SECONDS:
            self._stay()
        ours = partial(self._messages.is_ours, one)
        if ours() and one.value is not None:
            self.sender.send(message_of(one), ours)
        self._messages.done(one)

    def wait(self, seconds: float) -> None:
        """Wait while the target does not accept a message, and stay in the group meanwhile."""
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            self._sleep(min(left, STAY_SECONDS))
            self._stay()

    def _stay(self) -> None:
        self._messages.stay()
        self._note()

    def _note(self) -> None:
        self.ready = self._messages.joined()
        now = self.last_turn = self._stayed = self.clock()
        if now - self._reported_at >= AGAIN_SECONDS and self.sender.stuck_since is None:
            self._reported_at = now
            self.sender.again(self._between)
        self._turned(self)

    def _between(self) -> None:
        """Stay in the group between two parts of many open episodes: the target may be slow."""
        self._messages.stay()
        self.last_turn = self._stayed = self.clock()


def message_of(read: Read) -> Message:
    named = ((name, value or b"") for name, value in read.headers if ATTRIBUTE.fullmatch(name))
    texts = {name: value.decode("utf-8", "replace") for name, value in named}
    return Message(read.value or b"", texts, read.partition, read.offset)
