"""A message of the alert topic, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.request import Request


class Message(NamedTuple):
    """A record of the topic. `headers` are text by name; those that hold anything else are not among them."""

    value: bytes
    headers: Mapping[str, str]
    place: str
    """Its partition and offset, for the log."""


class Unfit(Exception):  # noqa: N818 - a reason, told in the log
    """No message of ours: it is passed over."""


class Target(Protocol):
    """Who is told."""

    def request(self, message: Message) -> Request:
        """What to send. Raises Unfit."""
        ...

    def again(self) -> Request | None:
        """What to send once more now and then, though it was taken: who is told may have forgotten it."""
        ...
