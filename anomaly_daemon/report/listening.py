"""Receives every alert that a worker delivers, decoded from its bytes, as a subscriber of the alert topic would."""

from __future__ import annotations

from collections.abc import Callable

from anomaly_daemon.detection.alert import Alert
from anomaly_daemon.transport.alert_codec import decode
from anomaly_daemon.transport.dead_letters import reason_and_detail
from anomaly_daemon.transport.ports import Commit, Delivery


class Listening:
    """A delivery that passes each commit on to `inner`, if there is one, and then calls `on_alert` with each of its
    alerts."""

    def __init__(
        self,
        on_alert: Callable[[Alert], None],
        inner: Delivery | None = None,
        refused: Callable[[str, str], None] = lambda reason, detail: None,
    ) -> None:
        """`refused` is called with the reason and the detail of every dead letter."""
        self._on_alert, self._inner, self._refused = on_alert, inner, refused
        self.dead_letters = 0

    def deliver(self, commit: Commit) -> None:
        if self._inner is not None:
            self._inner.deliver(commit)
        self.dead_letters += len(commit.dead_letters)
        for letter in commit.dead_letters:
            self._refused(*reason_and_detail(letter))
        for outgoing in commit.alerts:
            if outgoing.value is not None:
                self._on_alert(decode(outgoing.value))

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
