"""A message of the alert topic, and the interface of the targets that it is sent to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol
from urllib.request import Request


class Message(NamedTuple):
    """A record of the alert topic. `headers` holds the CloudEvents attributes (`ce_...`) as text by name; other headers
    are not included."""

    value: bytes
    headers: Mapping[str, str]
    partition: int
    offset: int

    @property
    def place(self) -> str:
        """Partition and offset, for the log."""
        return f"{self.partition}/{self.offset}"

    @property
    def id(self) -> str:
        """What identifies the message in the log: its alert, event and count; "" where it has no such header."""
        return self.headers.get("ce_id", "")


class Unfit(Exception):  # noqa: N818 - a reason, told in the log
    """Raised for a message that is not an alert of this program. The message is skipped."""


class Target(Protocol):
    """Where messages are sent: Alertmanager or a webhook."""

    def request(self, message: Message) -> Request:
        """Return the request that sends the message.

        Raises:
            Unfit: it is not an alert of this program.
            Incompatible: it is of a later version of this program.
        """
        ...

    def accepted(self, message: Message) -> None:
        """Note that the target has accepted the message."""
        ...

    def to_resend(self) -> Iterable[Request]:
        """Return the requests to be sent again from time to time, although they were accepted: the target may have
        forgotten them."""
        ...

    def partitions_lost(self, partitions: Iterable[int]) -> None:
        """Note that these partitions belong to another process from now on. It reports what happens to their episodes,
        and this process does not."""
        ...
