"""The pages /live, /ready and /metrics of `forward`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Metric as Family

from anomaly_daemon.daemon.http import Answer, answer_of, answered
from anomaly_daemon.daemon.metrics import CONTENT_TYPE, PREFIX, Metric, Type
from anomaly_daemon.forwarding.loop import ForwardLoop

FORWARD_METRICS = (
    Metric("forward_sent_total", Type.COUNTER, "Messages that the target accepted."),
    Metric(
        "forward_refused_total",
        Type.COUNTER,
        "Messages skipped: refused by the target for their content, or not alerts.",
    ),
    Metric("forward_stuck_seconds", Type.GAUGE, "Seconds for which the current message has not been accepted; else 0."),
    Metric("forward_lag_records", Type.GAUGE, "Messages on the topic that are still to be read; NaN while not known."),
    Metric(
        "forward_broker_silent_seconds", Type.GAUGE, "Seconds for which a broker has not answered; 0 while all answer."
    ),
    Metric("forward_ready", Type.GAUGE, "1 while it is a member of its consumer group; else 0."),
)


class BrokerStatus(Protocol):
    """What the pages read of a `transport.kafka.broker_monitor.BrokerMonitor`: for how long a broker has not answered,
    and how many records are still to be read."""

    silent_seconds: float
    lag: int | None


@dataclass(frozen=True, slots=True, eq=False)
class ForwardPages:
    """Answers requests for the three pages, in any thread. /live fails when the loop has not turned for
    `stalled_seconds`. A loop that waits for its target still turns."""

    loop: ForwardLoop
    broker: BrokerStatus
    stalled_seconds: float

    def answer(self, path: str) -> Answer:
        """Return the page at `path`, which comes without its query."""
        return answered({"/live": self.live, "/ready": self.ready, "/metrics": self.text}, path)

    def live(self) -> Answer:
        seconds = max(0.0, self.loop.clock() - self.loop.last_turn)
        live = seconds <= self.stalled_seconds
        return _page(live, {"live": live, "seconds_since_turn": round(seconds, 3)})

    def ready(self) -> Answer:
        return _page(self.loop.ready, {"ready": self.loop.ready, "stuck_seconds": round(self._stuck(), 3)})

    def text(self) -> Answer:
        registry = CollectorRegistry()
        registry.register(self)
        return Answer(HTTPStatus.OK, CONTENT_TYPE, generate_latest(registry))

    def collect(self) -> Iterator[Family]:
        """Yield the metric families, as prometheus_client expects of a collector."""
        lag = self.broker.lag
        values = (
            self.loop.sender.sent,
            self.loop.sender.refused,
            self._stuck(),
            math.nan if lag is None else lag,
            self.broker.silent_seconds,
            self.loop.ready,
        )
        for metric, value in zip(FORWARD_METRICS, values, strict=True):
            family = Family(PREFIX + metric.name.removesuffix("_total"), metric.meaning, metric.type)
            family.add_sample(PREFIX + metric.name, {}, float(value))
            yield family

    def _stuck(self) -> float:
        since = self.loop.sender.stuck_since
        return 0.0 if since is None else max(0.0, self.loop.clock() - since)


def _page(well: bool, content: dict[str, object]) -> Answer:
    return answer_of(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, content)
