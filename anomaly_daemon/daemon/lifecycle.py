"""The life of the process: signals, the clean stop and its deadline, the supervisor thread, exit codes.

The first signal asks the loop to flush and leave within `limits.stop_seconds`. The process ends at once when that
deadline has passed, and when a second signal comes (other than a hang-up). The next start replays what was not flushed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.notify import Notify
from anomaly_daemon.daemon.policy import SessionPolicy
from anomaly_daemon.daemon.signals import SIGNALS, listening
from anomaly_daemon.daemon.worker import Worker
from anomaly_daemon.errors import DaemonError, ExitCode

WATCH_SECONDS = 1.0
"""Seconds between two checks of the supervisor thread, which also sends systemd's watchdog messages. If half of
systemd's watchdog period is shorter, that is used."""
STOP_GRACE_SECONDS = 2.0
"""Seconds past the stop deadline, so that a flush that keeps to the deadline can be completed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long the process waits for its loop, in seconds."""

    stop_seconds: float
    stalled_seconds: float
    """When the loop has not turned for this long, systemd gets no more watchdog messages: the loop counts as dead."""
    hung_seconds: float
    """When the loop has not turned for this long, the process ends itself: a call that has no timeout hangs, and the
    group has given the partitions to other members."""
    session: SessionPolicy


class Lifecycle:
    """Runs one worker as the work of this process. Call `run` from the main thread."""

    def __init__(
        self,
        worker: Worker,
        bounds: Bounds,
        notify: Notify,
        log: FilteringBoundLogger,
        monotonic: Callable[[], float],
        end: Callable[[int], None] = os._exit,
        totals: Callable[[], Mapping[str, int]] = dict,
        exhausted: Callable[[], None] = lambda: None,
    ) -> None:
        """`end` ends the process at once, without clean-up. `totals` returns what was done, for the last line of the
        log. `exhausted` is called when a finite input has come to its end; it may raise one of `errors`."""
        self._worker, self._bounds, self._notify, self._log = worker, bounds, notify, log
        self._monotonic, self._end = monotonic, end
        self._totals, self._exhausted = totals, exhausted
        self._over = threading.Event()
        self._stop_by: float | None = None
        self._last_look = monotonic()
        self._reported_ready = False

    def run(self) -> ExitCode:
        """Run until the worker ends. Raises what the worker or `exhausted` raises."""
        supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        with listening(self._stop):
            supervisor.start()
            try:
                self._worker.run()
                if self._stop_by is None:
                    self._exhausted()
            except DaemonError as error:
                self._log.error("ended", error=str(error), exit_code=int(error.exit_code), **self._totals())
                raise
            finally:
                self._notify.tell("STOPPING=1")
                self._over.set()
                supervisor.join()
        self._log.info("ended", exit_code=0, **self._totals())
        return ExitCode.OK

    def _stop(self) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)  # a second signal ends the process at once
        self._stop_by = self._monotonic() + self._bounds.stop_seconds + STOP_GRACE_SECONDS
        self._worker.stop()

    def _supervise(self) -> None:
        beat = self._notify.watchdog_seconds
        pause = min(WATCH_SECONDS, beat / 2) if beat else WATCH_SECONDS
        while not self._over.wait(pause):
            self.look()

    def look(self) -> None:
        """Do one check of the supervisor thread: suspension of the process, silence of the broker, deadlines, messages
        to systemd."""
        now = self._monotonic()
        self._notice_sleep(now)
        self._worker.silence.look()
        silent = now - self._worker.last_turn
        if self._stop_by is not None and now > self._stop_by:
            self._give_up("the stop deadline has passed: what was not flushed will be replayed")
        elif silent > self._bounds.hung_seconds:
            self._give_up(f"the main loop has made no progress for {silent:.0f} s: a call hangs")
        if now - self._worker.idle_since(now) <= self._bounds.stalled_seconds:
            self._notify.tell("WATCHDOG=1")
        if not self._reported_ready and self._worker.progress.ready:
            self._reported_ready = True
            self._notify.tell("READY=1\nSTATUS=assigned and restored")

    def _notice_sleep(self, now: float) -> None:
        last, self._last_look = self._last_look, now
        if self._bounds.session.asleep(now=now, last=last):
            self._worker.fence(
                f"this process stood still for {now - last:.0f} s, longer than kafka.session_timeout_seconds: "
                "its partitions were assigned to other members of the group"
            )

    def _give_up(self, why: str) -> None:
        self._log.critical("ended immediately", reason=why, exit_code=int(ExitCode.TEMPORARY))
        self._end(ExitCode.TEMPORARY)
