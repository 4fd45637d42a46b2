"""The complete list of metrics, each with its meaning. The metrics table of the operations page is generated from it.

No label ever holds a stream's name (law L11): the values of each label are few and known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.room import Evicted
from anomaly_daemon.transport.codec import SKIPPED
from anomaly_daemon.transport.rejection import Reason

PREFIX = "anomaly_daemon_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SHORT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
LONG_SECONDS = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Type(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without the prefix, and its meaning for the operator."""

    name: str
    type: Type
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric("records_total", Type.COUNTER, "Records read, without those of a replay."),
    Metric("observations_total", Type.COUNTER, "Observations decoded from those records."),
    Metric(
        "unscored_total",
        Type.COUNTER,
        "Observations without a score: the stream is warming up, no value is present, late, a duplicate, or muted.",
        ("reason",),
    ),
    Metric(
        "values_total",
        Type.COUNTER,
        "Numeric values that are not known: absent, of the wrong type, or not finite.",
        ("presence",),
    ),
    Metric("dead_letters_total", Type.COUNTER, "Records that could not be read, by reason.", ("reason",)),
    Metric(
        "passed_over_total",
        Type.COUNTER,
        "Records skipped, but no errors: tombstones, unknown metrics (not in stream.numeric), messages of no record.",
        ("reason",),
    ),
    Metric("alerts_total", Type.COUNTER, "Alert messages published, by kind and event.", ("kind", "event")),
    Metric(
        "alerts_held_back_total",
        Type.COUNTER,
        "Alert messages of episodes beyond limits.alerts_per_minute, with updates and close; a digest counts them.",
    ),
    Metric(
        "evidence_left_out_total",
        Type.COUNTER,
        "Opening alerts sent without evidence, because with it they would exceed limits.alert_bytes.",
    ),
    Metric("streams", Type.GAUGE, "Streams in memory."),
    Metric(
        "streams_evicted_total",
        Type.COUNTER,
        "Streams dropped: unseen for limits.idle_stream_seconds (idle), or to stay within limits.streams (limit).",
        ("reason",),
    ),
    Metric("episodes_open", Type.GAUGE, "Open episodes, by kind.", ("kind",)),
    Metric("budget_alarms_per_stream_day", Type.GAUGE, "The alarm budget: pattern episodes per stream and day."),
    Metric(
        "realised_alarms_per_stream_day",
        Type.GAUGE,
        "Pattern episodes opened per stream and day of event time; NaN until that is known.",
    ),
    Metric(
        "lag_records",
        Type.GAUGE,
        "Records not yet read, over all assigned partitions; NaN while the end of one is not known.",
    ),
    Metric(
        "lag_seconds",
        Type.GAUGE,
        "Age of the last record read, in the partition furthest behind; 0 when caught up; NaN like lag_records, and while "
        "nothing was read yet of a partition with a lag, unless another is more than 300 s behind.",
    ),
    Metric(
        "broker_silent_seconds",
        Type.GAUGE,
        "Seconds for which a broker has not reported the end of an assigned partition, or not ended a call; 0: all answer.",
    ),
    Metric("partitions", Type.GAUGE, "Partitions assigned to this process, by state.", ("state",)),
    Metric(
        "commits_total",
        Type.COUNTER,
        "Attempts to commit, by outcome: committed, or unavailable (and tried again).",
        ("outcome",),
    ),
    Metric("commit_seconds", Type.HISTOGRAM, "Time to make one commit visible.", (), SHORT_SECONDS),
    Metric("step_seconds", Type.HISTOGRAM, "Time to run detection on one batch.", (), SHORT_SECONDS),
    Metric(
        "append_to_publish_seconds",
        Type.HISTOGRAM,
        "Time from the append of the record that triggered an alert to the alert being visible.",
        (),
        LONG_SECONDS,
    ),
    Metric("snapshots_total", Type.COUNTER, "Buckets of stream state written."),
    Metric("snapshot_bytes_total", Type.COUNTER, "Bytes of stream state written."),
    Metric(
        "restores_total",
        Type.COUNTER,
        "Partitions taken over, by the origin of their state: fresh (never read before), restored, changed "
        "(restored under another model or other rules), or lost (snapshots gone, state starts from scratch).",
        ("outcome",),
    ),
    Metric("restore_records_left", Type.GAUGE, "Records still to be replayed before restored partitions go live."),
    Metric(
        "restore_seconds_left",
        Type.GAUGE,
        "Estimated time until restored partitions go live, at the pace so far; NaN if unknown.",
    ),
    Metric(
        "restore_seconds",
        Type.HISTOGRAM,
        "Time from the assignment of a partition to its going live.",
        (),
        LONG_SECONDS,
    ),
    Metric(
        "evictions_total", Type.COUNTER, "Times the group dropped this member in a broker's outage, and it rejoined."
    ),
    Metric("records_lost_total", Type.COUNTER, "Records that retention removed before they were read or replayed."),
    Metric("model_info", Type.GAUGE, "Always 1; the labels name the running model.", ("name", "version", "digest")),
    Metric("model_changes_total", Type.COUNTER, "Times a live partition switched to another model."),
    Metric(
        "model_change_seconds",
        Type.HISTOGRAM,
        "Time for which one partition's records waited for a model change.",
        (),
        SHORT_SECONDS,
    ),
    Metric(
        "feedback_total",
        Type.COUNTER,
        "Labels of alerts: taken (applied to a stream of this process), refused (unreadable), or passed_over "
        "(they change no threshold: another kind than pattern, or no stream). begun_anew: times that a "
        "partition went back to the beginning of a recreated topic.",
        ("outcome",),
    ),
    Metric(
        "shadow_episodes_total",
        Type.COUNTER,
        "model.shadow: pattern episodes of champion and challenger that closed; alone: the other had none open meanwhile.",
        ("model", "alone"),
    ),
    Metric(
        "shadow_alarms_per_stream_day",
        Type.GAUGE,
        "model.shadow: pattern episodes that each opened per stream and day of event time, since the comparison began.",
        ("model",),
    ),
    Metric("shadow_seconds_total", Type.COUNTER, "model.shadow: time spent on scoring with the challenger."),
    Metric("models_refused_total", Type.COUNTER, "Models of the registry that were refused; the log has the reason."),
    Metric("registry_away", Type.GAUGE, "1 while the registry of models cannot be reached or read; else 0."),
    Metric("last_progress_timestamp_seconds", Type.GAUGE, "Unix time of the last iteration of the main loop."),
    Metric("ready", Type.GAUGE, "1 when partitions are assigned and restored."),
)

LAGS = ("lag_records", "lag_seconds")
"""Gauges that are NaN until the lag is known, and whenever it is not known later: 0 would say that everything is read."""

KNOWN_LABELS: dict[str, tuple[str, ...]] = {
    "dead_letters_total": tuple(Reason),
    "passed_over_total": SKIPPED,
    "unscored_total": ("warming", "missing", "late", "duplicate", "muted"),
    "values_total": ("absent", "wrong_type", "not_finite"),
    "commits_total": ("committed", "unavailable"),
    "feedback_total": ("taken", "refused", "passed_over", "begun_anew"),
    "restores_total": ("fresh", "restored", "changed", "lost"),
    "partitions": ("running", "restoring"),
    "streams_evicted_total": Evicted._fields,
}
"""Label values that show as 0 from the start, so that a rate over them begins with the first event, not the second."""


# The client would add a second series to each counter with the time of its creation: twice as many series, and no
# reader needs them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one daemon, in a registry of their own. A name that is not in the list raises KeyError."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {m.name: _counter(m, self.registry) for m in METRICS if m.type is Type.COUNTER}
        self._gauges = {m.name: _gauge(m, self.registry) for m in METRICS if m.type is Type.GAUGE}
        self._histograms = {m.name: _histogram(m, self.registry) for m in METRICS if m.type is Type.HISTOGRAM}
        for name, values in KNOWN_LABELS.items():
            for value in values:
                self._known(name, value)
        for kind, event in product(Kind, Event):
            self._counters["alerts_total"].labels(kind.value, event.value)
        for name in LAGS:
            self.set(name, math.nan)

    def _known(self, name: str, value: str) -> None:
        (self._counters.get(name) or self._gauges[name]).labels(value)

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter."""
        metric = self._counters[name]
        (metric.labels(**labels) if labels else metric).inc(amount)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        metric = self._gauges[name]
        (metric.labels(**labels) if labels else metric).set(value)

    def only(self, name: str, /, **labels: str) -> None:
        """Set a gauge to 1 for these labels, and remove its series with other labels."""
        self._gauges[name].clear()
        self.set(name, 1, **labels)

    def observe(self, name: str, seconds: float) -> None:
        """Add to a histogram."""
        self._histograms[name].observe(seconds)

    def value(self, name: str, /, **labels: str) -> float:
        """Return the present value of a metric: 0 for labels that were never counted, and for a histogram its count."""
        suffix = "_count" if name in self._histograms else ""
        return self.registry.get_sample_value(PREFIX + name + suffix, labels) or 0.0

    def text(self) -> bytes:
        """Return all metrics in the Prometheus exposition format."""
        return generate_latest(self.registry)


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(PREFIX + metric.name, metric.meaning, metric.labels, registry=registry)


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(PREFIX + metric.name, metric.meaning, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(PREFIX + metric.name, metric.meaning, metric.labels, registry=registry, buckets=metric.buckets)


def table(metrics: Iterable[Metric] = METRICS) -> str:
    """Return the list as a Markdown table."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    rows += [f"| `{PREFIX}{m.name}` | {m.type} | {', '.join(m.labels)} | {m.meaning} |" for m in metrics]
    return "\n".join(rows) + "\n"
