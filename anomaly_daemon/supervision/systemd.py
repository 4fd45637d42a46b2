"""What systemd left in the environment when it started this process."""

from __future__ import annotations

import os

from anomaly_daemon.daemon.notify import Notify


def notify() -> Notify:
    """Return the notifier for systemd, made from the environment of this process."""
    return Notify.of(os.environ, os.getpid())
