"""The pages /live, /ready and /metrics of one worker.

/live fails when the loop has not turned for `http.stalled_seconds`, which a restart would mend. Waiting for a broker
within its deadline counts as turning, because a restart would not mend that. /ready fails until this member is assigned
and its partitions are restored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from anomaly_daemon.daemon.http import Answer, answer_of, answered
from anomaly_daemon.daemon.measure import known
from anomaly_daemon.daemon.metrics import CONTENT_TYPE, Metrics
from anomaly_daemon.daemon.worker import Worker


@dataclass(frozen=True, slots=True)
class Pages:
    """Answers each path from attributes of the worker that are written by single assignments, so that any thread can
    read them."""

    worker: Worker
    metrics: Metrics
    monotonic: Callable[[], float]
    stalled_seconds: float

    def answer(self, path: str) -> Answer:
        """`path` is without its query."""
        return answered({"/live": self.live, "/ready": self.ready, "/metrics": self.text}, path)

    def live(self) -> Answer:
        now = self.monotonic()
        seconds = now - self.worker.idle_since(now)
        live = seconds <= self.stalled_seconds
        status = HTTPStatus.OK if live else HTTPStatus.SERVICE_UNAVAILABLE
        return answer_of(status, {"live": live, "seconds_since_turn": round(max(0.0, seconds), 3)})

    def ready(self) -> Answer:
        progress = self.worker.progress
        status = HTTPStatus.OK if progress.ready else HTTPStatus.SERVICE_UNAVAILABLE
        content = {
            "ready": progress.ready,
            "assigned": progress.joined,
            "partitions": {"running": progress.running, "restoring": progress.restoring},
            "restore_records_left": progress.records_left,
            "restore_seconds_left": known(progress.seconds_left),
        }
        return answer_of(status, content)

    def text(self) -> Answer:
        return Answer(HTTPStatus.OK, CONTENT_TYPE, self.metrics.text())
