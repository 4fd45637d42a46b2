"""What a run has done, in a few numbers taken from its metrics."""

from __future__ import annotations

from itertools import product

from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.scores import Status
from anomaly_daemon.transport.rejection import Reason


def totals(metrics: Metrics) -> dict[str, int]:
    """Return the totals for the log. `dead_letters` includes late records only where they become dead letters."""
    return {
        "records": int(metrics.value("records_total")),
        **by_status(metrics),
        "dead_letters": sum(dead_letters(metrics).values()),
        "alerts": sum(
            int(metrics.value("alerts_total", kind=kind, event=event)) for kind, event in product(Kind, Event)
        ),
    }


def by_status(metrics: Metrics) -> dict[str, int]:
    """Observations by status: scored, warming, missing, late, duplicate, muted."""
    names = [status.name.lower() for status in Status if status is not Status.SCORED]
    unscored = {name: int(metrics.value("unscored_total", reason=name)) for name in names}
    return {"scored": int(metrics.value("observations_total")) - sum(unscored.values()), **unscored}


def dead_letters(metrics: Metrics) -> dict[str, int]:
    """Dead letters by reason, without the reasons that did not occur."""
    counted = {str(reason): int(metrics.value("dead_letters_total", reason=reason)) for reason in Reason}
    return {reason: count for reason, count in counted.items() if count}
