"""Runs the challenger beside the champion, on the same live events. The challenger publishes no alerts. What is
reported is the pattern episodes that the two do not share.

The challenger's states begin as copies of the champion's, by the same change-over as a promotion, so the comparison
shows what a promotion would result in. Nothing of the challenger is stored: after a restart, or when a partition moves
to another member, the comparison starts from scratch.
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
"""Seconds between two log lines about the comparison. One more is written when it ends."""
DAY = 86_400.0 * 1e6


@dataclass(slots=True)
class Beside:
    """The challenger of one partition."""

    owned: Owned
    champion: str
    challenger: str
    detector: Detects
    began: int
    """The partition's event time when the comparison began, epoch microseconds; 0 while not known."""
    comparison: Comparison = field(default_factory=Comparison)

    @property
    def stream_days(self) -> float:
        """Streams times days of event time since the comparison began; 0 while no event time is known."""
        return self.detector.streams * max(0, self.detector.watermark - self.began) / DAY if self.began else 0.0


class Shadow:
    """Runs the challengers of all partitions, as an observer of the loop. Used by the loop's thread only."""

    def __init__(
        self, watch: Watches, monotonic: Callable[[], float], metrics: Metrics, log: FilteringBoundLogger
    ) -> None:
        """`watch` follows the registry's challenger."""
        self.watch, self._monotonic, self._metrics, self._log = watch, monotonic, metrics, log
        self._beside: dict[Partition, Beside] = {}
        self._seconds, self._reported = 0.0, monotonic()

    def stand_beside(self, live: Iterable[Owned], deciding: Deciding) -> None:
        """Begin and end comparisons, between two batches. One begins where a partition has no challenger beside it yet,
        and ends where it is of no use any more. Only one partition at a time begins, since copying its states stops the
        loop."""
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
        """Let the challenger score the observations about which the champion has just decided."""
        beside = self._beside.get(Partition(observations.topic, observations.partition))
        if beside is None or len(observations) == 0:  # nothing of the batch, or part, could be read
            return
        began = self._monotonic()
        beside.began = beside.began or int(observations.time_N[0])
        alerts = beside.detector.step(observations).alerts
        beside.detector.evidence()  # dropped: its alerts are not published
        for model, raised in ((CHAMPION, step.alerts), (CHALLENGER, alerts)):
            for alone in beside.comparison.take(model, raised):
                self._metrics.count("shadow_episodes_total", model=model, alone="yes" if alone else "no")
        seconds = self._monotonic() - began
        self._seconds += seconds
        self._metrics.count("shadow_seconds_total", seconds)

    def _report(self, beside: Collection[Beside]) -> None:
        """Report the counts over all partitions that were compared."""
        self._reported, days = self._monotonic(), sum(one.stream_days for one in beside)
        figures: dict[str, Any] = {"stream_days": round(days, 3), "seconds": round(self._seconds, 3)}
        for model in (CHAMPION, CHALLENGER):
            opened = sum(one.comparison.opened[model] for one in beside)
            alone = sum(one.comparison.alone[model] for one in beside)
            figures |= {f"{model}_opened": opened, f"{model}_alone": alone}
            if days > 0:
                self._metrics.set("shadow_alarms_per_stream_day", opened / days, model=model)
        for one in beside:
            one.detector.buckets(1)  # forget what changed: no snapshots are taken of it
        if beside:
            self._log.info("challenger and champion compared", **figures)
