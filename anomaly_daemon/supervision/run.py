"""`run --processes N`: connects the supervisor, its members and their common pages. Imports nothing that detects."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import structlog

from anomaly_daemon.daemon.http import HealthServer, listen
from anomaly_daemon.settings import Settings
from anomaly_daemon.supervision.beat import Beat
from anomaly_daemon.supervision.member import Member, launcher
from anomaly_daemon.supervision.pages import GroupPages
from anomaly_daemon.supervision.restart import RestartPolicy
from anomaly_daemon.supervision.supervisor import Supervisor
from anomaly_daemon.supervision.systemd import notify


def supervise(settings: Settings, processes: int, command: Sequence[str]) -> int:
    """Run `command` in this many processes, each a member of the group. Returns the exit code."""
    log = structlog.get_logger("anomaly_daemon")
    with ExitStack() as stack:
        members = [_member(settings, number, command, stack) for number in range(processes)]
        pages = GroupPages(members, settings.http.stalled_seconds, time.monotonic)
        stack.callback(pages.close)
        if settings.http.enabled:
            server = HealthServer(listen(settings.http.host, settings.http.port), pages)
            server.start()
            stack.callback(server.close)
            log.info("listening", host=settings.http.host, port=server.port)
        beat = Beat(pages, notify())
        beat.start()
        stack.callback(beat.close)
        code = Supervisor(members, settings.limits.stop_seconds, log, time.monotonic).run()
    log.info("ended", exit_code=code)
    return code


def _member(settings: Settings, number: int, command: Sequence[str], stack: ExitStack) -> Member:
    """Make one member. It answers on a socket that the supervisor holds, so that its port stays the same however often
    it is restarted."""
    listening = stack.enter_context(listen("127.0.0.1", 0))
    words = [*command, *(f"--set={one}" for one in _identity(settings, number)), f"--member={number}"]
    return Member(number, launcher(words, listening), RestartPolicy(), listening.getsockname()[1])


def _identity(settings: Settings, number: int) -> Iterator[str]:
    """Yield the settings that must differ between members. Without a `group_instance_id` the group distinguishes them
    itself."""
    for key in ("group_instance_id", "transactional_id"):
        given = getattr(settings.kafka, key)
        if given is not None:
            yield f"kafka.{key}={given}-{number}"
