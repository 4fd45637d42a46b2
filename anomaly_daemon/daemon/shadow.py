"""The challenger beside the champion: the same live events, no alerts, and what the two do not share.

Its states begin as copies of the champion's, by the same change-over as a promotion, so what is compared is what would
come of it. Nothing of it is stored: a restart, or a partition that moves, begins the comparison anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.comparison import CHALLENGER, CHAMPION, Comparison
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Detects, Owned
from anomaly_daemon.daemon.succession import Deciding, Watches
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.scores import Step
from anomaly_daemon.transport.ports import Partition

REPORT_SECONDS = 600.0
"""Between two log lines about it; one more when the comparison ends."""
DAY = 86_400.0 * 1e6


@dataclass(slots=True)
class Beside:
    """One partition's challenger."""

    owned: Owned
    champion: str
    challenger: str
    detector: Detects
    began: int
    """The partition's event time then, epoch microseconds."""
    comparison: Comparison = field(default_factory=Comparison)

    @property
    def stream_days(self) -> float:
        """Of event time since it began; 0 for as long as no event time is known."""
        return self.detector.streams * max(0, self.detector.watermark - self.began) / DAY if self.began else 0.0


class Shadow:
    """An observer of the loop, and the loop's alone."""

    def __init__(
        self, watch: Watches, monotonic: Callable[[], float], metrics: Metrics, log: FilteringBoundLogger
    ) -> None:
        """`watch` looks after the registry's challenger."""
        self.watch, self._monotonic, self._metrics, self._log = watch, monotonic, metrics, log
        self._beside: dict[Partition, Beside] = {}
        self._seconds, self._reported = 0.0, monotonic()

    def stand_beside(self, live: Iterable[Owned], deciding: Deciding) -> None:
        """Between two batches: begin where a partition has no challenger beside it yet, end where there is no use. One
        partition at a time begins, since the copies of its states stop the loop."""
        ready = self.watch.ready
        wanted = (
            {} if ready is None or ready.make.model == deciding.make.model else {one.partition: one for one in live}
        )
        current = {
            name: kept
            for name, kept in self._beside.items()
            if ready is not None
            and kept.owned is wanted.get(name)
            and (kept.champion, kept.challenger) == (kept.owned.make.model, ready.make.model)
        }
        if len(current) < len(self._beside) or self._monotonic() - self._reported >= REPORT_SECONDS:
            self._report(self._beside.values())
        self._beside = current
        without = [owned for name, owned in wanted.items() if name not in current]
        begins = [owned for owned in without if ready is not None and owned.make.model != ready.make.model]
        if ready is not None and begins:
            self._begin(begins[0], ready)

    def _begin(self, owned: Owned, ready: Deciding) -> None:
        detector, name = ready.detectors.ours(owned.partition), f"{owned.partition.topic}-{owned.partition.partition}"
        detector.follow(owned.detector)
        models = owned.make.model, ready.make.model
        self._beside[owned.partition] = Beside(owned, *models, detector, detector.watermark)
        self._log.info("the challenger is scored beside the champion", partition=name, challenger=models[1][:12])

    def __call__(self, observations: Observations, step: Step) -> None:
        """The champion has decided about these."""
        beside = self._beside.get(Partition(observations.topic, observations.partition))
        if beside is None or len(observations) == 0:  # of a batch, or a part of one, that nothing could be read of
            return
        began = self._monotonic()
        beside.began = beside.began or int(observations.time_N[0])
        alerts = beside.detector.step(observations).alerts
        beside.detector.evidence()  # of alerts that nobody is told of
        for model, told in ((CHAMPION, step.alerts), (CHALLENGER, alerts)):
            for alone in beside.comparison.take(model, told):
                self._metrics.count("shadow_episodes_total", model=model, alone="yes" if alone else "no")
        seconds = self._monotonic() - began
        self._seconds += seconds
        self._metrics.count("shadow_seconds_total", seconds)

    def _report(self, beside: Collection[Beside]) -> None:
        """Over all partitions that were compared."""
        self._reported, days = self._monotonic(), sum(one.stream_days for one in beside)
        told: dict[str, Any] = {"stream_days": round(days, 3), "seconds": round(self._seconds, 3)}
        for model in (CHAMPION, CHALLENGER):
            opened = sum(one.comparison.opened[model] for one in beside)
            alone = sum(one.comparison.alone[model] for one in beside)
            told |= {f"{model}_opened": opened, f"{model}_alone": alone}
            if days > 0:
                self._metrics.set("shadow_alarms_per_stream_day", opened / days, model=model)
        for one in beside:
            one.detector.buckets(1)  # noted for snapshots, which nobody takes of it
        if beside:
            self._log.info("the challenger beside the champion", **told)
