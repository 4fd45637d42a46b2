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

    from anomaly_daemon.transport.kafka.subscription import TopicRecord

ATTRIBUTE = re.compile("ce_[a-z0-9]+")
"""A header that holds an attribute of a CloudEvent. Other headers of the topic are ignored."""
RESEND_SECONDS = 60.0
"""Seconds between two times that episodes are sent to the target again."""
KEEP_ALIVE_SECONDS = 1.0
"""Seconds between two calls of `keep_alive`, at most. A single request to the target may make it longer."""


class Messages(Protocol):
    """The source of messages: a `Subscription`, which documents each of these methods."""

    def read(self) -> list[TopicRecord]: ...

    def keep_alive(self) -> None: ...

    def is_ours(self, one: TopicRecord) -> bool: ...

    def done(self, one: TopicRecord) -> None: ...

    def joined(self) -> bool: ...


class ForwardLoop:
    """The loop, run by one thread. `last_turn`, `ready` and the sender's counts may be read by any thread."""

    def __init__(
        self,
        messages: Messages,
        target: Target,
        open_: Callable[..., Any],
        log: FilteringBoundLogger,
        *,
        give_up_seconds: float | None = None,
        on_turn: Callable[[ForwardLoop], None] = lambda _loop: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`on_turn` is called about every second, unless a call hangs."""
        self._messages, self._target, self._log, self._on_turn = messages, target, log, on_turn
        self.clock, self._sleep = clock, sleep
        self.sender = Sender(target, open_, log, self.wait, clock, give_up_seconds)
        self.ready = False
        """Whether this process is a member of its consumer group."""
        self.last_turn = self._kept_alive_at = self._resent_at = clock()

    def run(self) -> None:
        """Run until interrupted. Raises the error with which a message, the target or Kafka ends the loop."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Read what arrives within a second, and send it."""
        before = self.sender.sent, self.sender.refused
        found = self._messages.read()
        self._report()
        for one in found:
            self._forward(one)
        if before != (self.sender.sent, self.sender.refused):
            self._log.info("sent", sent=self.sender.sent, refused=self.sender.refused)

    def _forward(self, one: TopicRecord) -> None:
        if self.clock() - self._kept_alive_at >= KEEP_ALIVE_SECONDS:
            self._keep_alive()
        ours = partial(self._messages.is_ours, one)
        if ours() and one.value is not None:
            self.sender.send(message_of(one), ours)
        self._messages.done(one)

    def wait(self, seconds: float) -> None:
        """Wait while the target does not accept a message, and stay in the group meanwhile."""
        until = self.clock() + seconds
        while (remaining := until - self.clock()) > 0:
            self._sleep(min(remaining, KEEP_ALIVE_SECONDS))
            self._keep_alive()

    def _keep_alive(self) -> None:
        self._messages.keep_alive()
        self._report()

    def _report(self) -> None:
        self.ready = self._messages.joined()
        now = self.last_turn = self._kept_alive_at = self.clock()
        if now - self._resent_at >= RESEND_SECONDS and self.sender.stuck_since is None:
            self._resent_at = now
            self.sender.resend(self._keep_alive_between_parts)
        self._on_turn(self)

    def _keep_alive_between_parts(self) -> None:
        """Stay in the group between two parts of many episodes: the target may be slow."""
        self._messages.keep_alive()
        self.last_turn = self._kept_alive_at = self.clock()


def message_of(read: TopicRecord) -> Message:
    named = ((name, value or b"") for name, value in read.headers if ATTRIBUTE.fullmatch(name))
    texts = {name: value.decode("utf-8", "replace") for name, value in named}
    return Message(read.value or b"", texts, read.partition, read.offset)
