"""Closes what kafka-python (3.0.12) leaves open: the socket of every connection that is refused.

While a broker is away each client tries to connect about once a second, and each attempt would keep a file descriptor
until the garbage collector runs. The client chooses its socket class by the scheme of `proxy_url`, which is meant for
proxies.
"""

from __future__ import annotations

from typing import Any

from kafka.net.inet import KafkaNetSocket

PROXY_URL = "direct://"
"""The `proxy_url` of a client that is to use `TidySocket`. There is no proxy."""


class TidySocket(KafkaNetSocket):  # type: ignore[misc] # kafka-python has no types
    """A socket that is closed when its connection fails. kafka-python registers the class for its `SCHEMES` when it is
    defined."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, sockaddr: Any, timeout_at: float | None = None) -> Any:
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise
