"""A broker that does not answer, told of while the loop waits for it.

The client tells nobody: a poll without a broker returns nothing, as a calm topic does, and a commit waits. So another
thread looks at what is owed to us: the ends of partitions (`idleness`), and the end of a call. Making a commit's records
takes time too, and is no waiting.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from anomaly_daemon.daemon.idleness import SILENT_SECONDS, Idleness
from anomaly_daemon.daemon.metrics import LAGS, Metrics
from anomaly_daemon.daemon.patience import Patience


class Silence:
    """`look` is for one thread, whichever; what it reads of the loop's are single assignments."""

    def __init__(
        self,
        idleness: Idleness,
        patience: Patience,
        made: Callable[[], int],
        monotonic: Callable[[], float],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        """`made`: records of the commit under way."""
        self._idleness, self._patience, self._made = idleness, patience, made
        self._monotonic, self._metrics, self._log = monotonic, metrics, log
        self._counted, self._moved = 0, -math.inf
        self._longest = 0.0

    def look(self) -> None:
        """Once in a while: the gauges, and a line when it begins and when it ends."""
        seconds = self._seconds(self._monotonic())
        silent = seconds > SILENT_SECONDS
        self._metrics.set("broker_silent_seconds", seconds if silent else 0.0)
        if silent:
            for name in LAGS:
                self._metrics.set(name, math.nan)
        if silent and not self._longest:
            self._log.warning("the broker does not answer: it is waited for", seconds=round(seconds, 1))
        elif self._longest and not silent:
            self._log.info("the broker answers again", silent_seconds=round(self._longest, 1))
        self._longest = max(self._longest, seconds) if silent else 0.0

    def _seconds(self, now: float) -> float:
        """For how long something has been owed."""
        made = self._made()
        if made != self._counted:
            self._counted, self._moved = made, now
        waited = max(0.0, now - max(self._patience.waiting_since, self._moved))
        return self._idleness.owed + waited
