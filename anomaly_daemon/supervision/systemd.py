"""What systemd, when it started this process, has left in the environment."""

from __future__ import annotations

import os

from anomaly_daemon.daemon.notify import Notify


def notify() -> Notify:
    """Where to tell it how we are."""
    return Notify.of(os.environ, os.getpid())
