"""Updates the metrics from what happened in the loop."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import datetime

import numpy as np

from anomaly_daemon.daemon.commit import Prepared
from anomaly_daemon.daemon.metrics import Metrics
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.daemon.progress import Progress
from anomaly_daemon.detection.alert import Kind
from anomaly_daemon.detection.detector import Status, Step
from anomaly_daemon.detection.observation import Observations, Presence
from anomaly_daemon.detection.realised import Spent
from anomaly_daemon.transport.ports import Partition

LATE = 300.0
"""The age, in seconds, from which the alert rule AnomalyDaemonBehind may fire."""


def count_observations(metrics: Metrics, observations: Observations, step: Step) -> None:
    """Count one live batch: its observations, how many of them were not scored, and how many of their values are not
    known (law L4)."""
    metrics.count("observations_total", len(observations))
    for status in (Status.WARMING, Status.MISSING, Status.LATE, Status.DUPLICATE, Status.MUTED):
        metrics.count("unscored_total", int(np.sum(step.scores.status_N == status)), reason=status.name.lower())
    for presence in (Presence.ABSENT, Presence.WRONG_TYPE, Presence.NOT_FINITE):
        metrics.count("values_total", int(np.sum(observations.presence_ND == presence)), presence=presence.name.lower())


def count_evicted(metrics: Metrics, owned: Collection[Owned]) -> None:
    """Count the streams that were forgotten since the last call."""
    for one in owned:
        for reason, count in one.detector.evicted()._asdict().items():
            metrics.count("streams_evicted_total", count, reason=reason)


def count_commit(metrics: Metrics, prepared: Prepared, seconds: float, wall: float) -> None:
    """Count one commit, once it is visible. `wall` is in epoch seconds."""
    metrics.count("commits_total", outcome="committed")
    metrics.observe("commit_seconds", seconds)
    metrics.count("snapshots_total", sum(map(len, prepared.written.values())) if prepared.commit.snapshots else 0)
    records = [record for records in prepared.commit.snapshots.values() for record in records]
    metrics.count("snapshot_bytes_total", sum(len(record.value or b"") for record in records))
    metrics.count("evidence_left_out_total", prepared.without_evidence)
    for alert, visible in prepared.visible(wall):
        metrics.count("alerts_total", kind=alert.kind.value, event=alert.event.value)
        if (appended := _seconds(alert.times.append)) is not None:
            metrics.observe("append_to_publish_seconds", max(0.0, visible - appended))


def _seconds(time: str | None) -> float | None:
    """Return a time of an alert in epoch seconds; None where there is none, or where it has no calendar date, because a
    producer's clock counts in another unit (see `detection.explain.iso`)."""
    try:
        return None if time is None else datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None


def set_gauges(
    metrics: Metrics, owned: Collection[Owned], lag: Mapping[Partition, int], wall: float, *, complete: bool = True
) -> None:
    """Set the gauges of the present state. `wall` is in epoch seconds. The lag gauges are NaN unless the lag of every
    partition is known. `complete`: whether `owned` has every partition of this member."""
    metrics.set("streams", sum(each.detector.streams for each in owned))
    for kind in Kind:
        metrics.set("episodes_open", sum(each.detector.open_episodes.get(kind, 0) for each in owned), kind=kind.value)
    metrics.set("realised_alarms_per_stream_day", _realised(owned))
    known_all = complete and all(each.partition in lag for each in owned)
    metrics.set("lag_records", sum(lag.values()) if known_all else math.nan)
    metrics.set("lag_seconds", _age(owned, lag, wall) if known_all else math.nan)
    metrics.set("last_progress_timestamp_seconds", wall)


def _age(owned: Collection[Owned], lag: Mapping[Partition, int], wall: float) -> float:
    """Return the age of the last record read, in the partition that is furthest behind. While nothing was read yet of a
    partition with a lag, its records may have waited for any time: then it is NaN, unless another's age is an alarm."""
    behind = [each.last_append for each in owned if lag[each.partition] > 0]
    known = [wall - last / 1e6 for last in behind if last >= 0]
    oldest = max(known, default=0.0)
    return oldest if len(known) == len(behind) or oldest > LATE else math.nan


def set_progress(metrics: Metrics, progress: Progress) -> None:
    """Set the gauges that say how far the restores have come."""
    metrics.set("partitions", progress.running, state="running")
    metrics.set("partitions", progress.restoring, state="restoring")
    metrics.set("restore_records_left", progress.records_left)
    metrics.set("restore_seconds_left", progress.seconds_left)
    metrics.set("ready", progress.ready)


def known(seconds: float) -> float | None:
    """Return `seconds` for JSON, which has no NaN: rounded to one decimal, or None where it is not known."""
    return None if math.isnan(seconds) else round(seconds, 1)


def _realised(owned: Collection[Owned]) -> float:
    """Return the pattern episodes opened per stream and day, over the streams of all partitions together; NaN if not
    known."""
    spent = [each.detector.spent() for each in owned]
    rate = Spent(sum(one.opens for one in spent), sum(one.days for one in spent)).rate
    return math.nan if rate is None else rate
