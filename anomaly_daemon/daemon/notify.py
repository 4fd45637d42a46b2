"""systemd's notification protocol (sd_notify(3)) without a dependency: datagrams to the socket that systemd names."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notify:
    """Sends notifications to systemd. Without systemd it does nothing. A datagram that cannot be sent is not treated as
    an error."""

    address: str | None = None
    watchdog_seconds: float | None = None
    """systemd restarts this process when it has received no WATCHDOG=1 for this long. None when its watchdog is off."""

    @classmethod
    def of(cls, environment: Mapping[str, str], process: int) -> Notify:
        """Read the socket's address and the watchdog period from the environment that systemd gave to process number
        `process`."""
        meant = environment.get("WATCHDOG_PID", str(process)) == str(process)
        microseconds = environment.get("WATCHDOG_USEC", "")
        watched = meant and microseconds.isdigit() and int(microseconds) > 0
        return cls(environment.get("NOTIFY_SOCKET"), int(microseconds) / 1e6 if watched else None)

    def tell(self, state: str) -> None:
        """Send `READY=1`, `STOPPING=1`, `WATCHDOG=1` or `STATUS=...`."""
        if not self.address or self.address[0] not in "@/":
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall(state.encode())
