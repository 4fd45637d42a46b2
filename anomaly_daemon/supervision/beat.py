"""Tells systemd once that all processes are ready, and repeatedly that all are live."""

from __future__ import annotations

import threading
from http import HTTPStatus

from anomaly_daemon.daemon.notify import Notify
from anomaly_daemon.supervision.pages import GroupPages

BEAT_SECONDS = 1.0


class Beat:
    """Checks the pages on its own thread, from `start` to `close`, and notifies systemd. It does nothing where systemd
    does not listen."""

    def __init__(self, pages: GroupPages, notify: Notify) -> None:
        self._pages, self._notify = pages, notify
        self._over, self._reported_ready = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        if self._notify.address:
            self._thread.start()

    def close(self) -> None:
        self._notify.tell("STOPPING=1")
        self._over.set()

    def _run(self) -> None:
        watchdog = self._notify.watchdog_seconds
        while not self._over.wait(min(BEAT_SECONDS, watchdog / 2) if watchdog else BEAT_SECONDS):
            self.once()

    def once(self) -> None:
        """Check the pages once, and notify systemd."""
        if self._pages.live().status == HTTPStatus.OK:
            self._notify.tell("WATCHDOG=1")
        if not self._reported_ready and self._pages.ready().status == HTTPStatus.OK:
            self._reported_ready = True
            self._notify.tell("READY=1\nSTATUS=all processes are assigned and restored")
