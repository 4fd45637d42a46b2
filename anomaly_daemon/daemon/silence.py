"""Reports a broker that does not answer while the loop waits for it.

The Kafka client does not report this: without a broker a poll returns nothing, as it does on a quiet topic, and a
commit waits. Therefore another thread checks which answers are owed to this process: the ends of partitions
(`idleness`), and the end of a call. Making the records of a commit takes time too, and does not count as waiting.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.idleness import SILENT_SECONDS, Idleness
from anomaly_daemon.daemon.metrics import LAGS, Metrics
from anomaly_daemon.daemon.patience import Patience


class Silence:
    """Watches for silence of the broker (not of a stream). One thread only, whichever it is, calls `look`. It reads
    attributes of the loop that are written by single assignments."""

    def __init__(
        self,
        idleness: Idleness,
        patience: Patience,
        made: Callable[[], int],
        monotonic: Callable[[], float],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        """`made` returns the number of records made so far of the commit under way."""
        self._idleness, self._patience, self._made = idleness, patience, made
        self._monotonic, self._metrics, self._log = monotonic, metrics, log
        self._counted, self._moved = 0, -math.inf
        self._longest = 0.0

    def look(self) -> None:
        """Do one check: set the gauges, and log when a silence begins and when it ends."""
        seconds = self._seconds(self._monotonic())
        silent = seconds > SILENT_SECONDS
        self._metrics.set("broker_silent_seconds", seconds if silent else 0.0)
        if silent:
            for name in LAGS:
                self._metrics.set(name, math.nan)
        if silent and not self._longest:
            self._log.warning("the broker does not answer: waiting for it", seconds=round(seconds, 1))
        elif self._longest and not silent:
            self._log.info("the broker answers again", silent_seconds=round(self._longest, 1))
        self._longest = max(self._longest, seconds) if silent else 0.0

    def _seconds(self, now: float) -> float:
        """Return the seconds for which an answer has been owed."""
        made = self._made()
        if made != self._counted:
            self._counted, self._moved = made, now
        waited = max(0.0, now - max(self._patience.waiting_since, self._moved))
        return self._idleness.owed + waited
