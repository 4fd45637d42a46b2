"""A message of the alert topic, and where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol
from urllib.request import Request


class Message(NamedTuple):
    """A record of the topic. `headers` are text by name; those that hold anything else are not among them."""

    value: bytes
    headers: Mapping[str, str]
    partition: int
    offset: int

    @property
    def place(self) -> str:
        """For the log."""
        return f"{self.partition}/{self.offset}"

    @property
    def id(self) -> str:
        """What names it, for the log: its alert, event and count; "" where it has none."""
        return self.headers.get("ce_id", "")


class Unfit(Exception):  # noqa: N818 - a reason, told in the log
    """No message of ours: it is passed over."""


class Target(Protocol):
    """Who is told."""

    def request(self, message: Message) -> Request:
        """What to send.

        Raises:
            Unfit: it is no message of ours.
            Incompatible: it is of a later version of this program.
        """
        ...

    def taken(self, message: Message) -> None:
        """It was sent, and taken."""
        ...

    def again(self) -> Iterable[Request]:
        """What to send once more now and then, though it was taken: who is told may have forgotten it."""
        ...

    def left(self, partitions: Iterable[int]) -> None:
        """These are another process's from now on: what comes of their episodes is told by it, and not by us."""
        ...
