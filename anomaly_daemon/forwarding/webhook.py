"""Sends messages unchanged to any address, as CloudEvents in HTTP's binary mode (CloudEvents HTTP Protocol Binding
1.0.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote
from urllib.request import Request

from anomaly_daemon.forwarding.message import Message, Unfit

KAFKA_PREFIX, HTTP_PREFIX = "ce_", "ce-"
PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""The characters that a header's value may contain unchanged. All others are percent-encoded as UTF-8."""


class Webhook:
    """A `Target` that remembers nothing: a message that was accepted is never sent again."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, self._headers = url, dict(headers)

    def request(self, message: Message) -> Request:
        events = {name: value for name, value in message.headers.items() if name.startswith(KAFKA_PREFIX)}
        if f"{KAFKA_PREFIX}id" not in events:
            raise Unfit("not an alert of this program: it has no header ce_id")
        headers = {
            HTTP_PREFIX + name.removeprefix(KAFKA_PREFIX): quote(value, safe=PRINTABLE)
            for name, value in events.items()
        }
        return Request(self._url, message.value, {"Content-Type": "application/json"} | headers | self._headers)

    def accepted(self, message: Message) -> None:
        pass

    def to_resend(self) -> Iterable[Request]:
        return ()

    def partitions_lost(self, partitions: Iterable[int]) -> None:
        pass
