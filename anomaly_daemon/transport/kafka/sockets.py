"""Closing what kafka-python (3.0.12) leaves open: the socket of every connection that is refused.

While a broker is away each client tries about once a second, and each try would keep a file descriptor until the
garbage collector comes by. The client takes its socket class by the scheme of `proxy_url`, which is meant for proxies.
"""

from __future__ import annotations

from typing import Any

from kafka.net.inet import KafkaNetSocket

PROXY_URL = "direct://"
"""The `proxy_url` of a client that is to use `TidySocket`: no proxy."""


class TidySocket(KafkaNetSocket):  # type: ignore[misc] # kafka-python has no types
    """Registers itself for its schemes when the class is made."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, sockaddr: Any, timeout_at: float | None = None) -> Any:
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise
