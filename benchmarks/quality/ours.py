"""The daemon's own detection code over labelled series: the shipped network and the default settings, for every set alike.

The series of a set run at once, as the streams of one partition do. So that they run side by side as streams of a live
deployment, each is moved by whole weeks to one common week: time of day and day of the week stay.

`Detector` is stepped directly, as `daemon.partition` steps it; a test holds that against a whole worker.

Shapes: S streams, N events of all of them, D fields.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from anomaly_daemon.bootstrap import rules_of
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.alert import Alert, Event
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.observation import Observations, Presence
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.settings import Settings
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.series import Float64, Int64, Series

NAME = "anomaly-daemon"
TOPIC = "quality"
BATCH = 4096
"""Events a step."""

WEEK = 7 * 86_400_000_000
EPOCH = 2_830 * WEEK
"""A week of 2024 that every series is moved to."""


def settings_of(fields: int, per_day: float) -> Settings:
    """The defaults, for this many numeric fields."""
    return Settings.model_validate(
        {
            "source": {"topic": TOPIC},
            "stream": {"numeric": names(fields), "time": "time"},
            "detection": {"budget": {"alarms_per_stream_per_day": per_day}},
        }
    )


def names(fields: int) -> list[str]:
    """Of the numeric fields."""
    return [f"field_{number}" for number in range(fields)]


def detect(series: Sequence[Series], per_day: float, model: Model | None = None) -> list[Outcome]:
    """An outcome a series."""
    torch.set_num_threads(1)
    settings = settings_of(series[0].values_ND.shape[1], per_day)
    chosen = model or read_model(settings.model.path)
    detector = Detector(chosen, settings.stream.schema_(), rules_of(settings), TOPIC, 0)
    everything = side_by_side(series)
    p_value_N, alerts = np.empty(len(everything)), []
    began = time.perf_counter()
    for start in range(0, len(everything), BATCH):
        step = detector.step(everything.take(slice(start, start + BATCH)))
        p_value_N[start : start + BATCH] = step.scores.p_value_N
        alerts += step.alerts
    seconds = (time.perf_counter() - began) / len(everything)
    return list(outcomes(series, everything.stream_N, p_value_N, alerts, seconds))


def side_by_side(series: Sequence[Series]) -> Observations:
    """The events of all series in order of time, each series moved to the common week."""
    time_N = np.concatenate([moved(one) for one in series])
    stream_N = np.repeat(np.arange(len(series), dtype=np.int32), [len(one) for one in series])
    order = np.argsort(time_N, kind="stable")
    values_ND = np.concatenate([one.values_ND for one in series])[order]
    presence_ND = np.where(np.isnan(values_ND), Presence.ABSENT, Presence.PRESENT).astype(np.uint8)
    offset_N = np.arange(len(order))
    return Observations(
        topic=TOPIC,
        partition=0,
        keys=tuple(one.name for one in series),
        stream_N=stream_N[order],
        offset_N=offset_N,
        index_N=np.zeros(len(order), np.int32),
        time_N=time_N[order],
        append_N=time_N[order],
        values_ND=values_ND,
        presence_ND=presence_ND,
        categories_NC=np.zeros((len(order), 0), np.int64),
        category_names={},
    )


def moved(series: Series) -> Int64:
    """Its times in the common week."""
    return series.time_N + (EPOCH // WEEK - series.time_N[0] // WEEK) * WEEK


def outcomes(
    series: Sequence[Series], stream_N: Int64, p_value_N: Float64, alerts: Iterable[Alert], seconds: float
) -> Iterator[Outcome]:
    """Scores and alerts by series. `seconds`: of one event."""
    own: dict[str, list[Alert]] = {one.name: [] for one in series}
    for alert in alerts:
        own[alert.stream.key].append(alert)
    with np.errstate(divide="ignore"):
        surprise_N = np.minimum(-np.log10(p_value_N), 300.0)
    for number, one in enumerate(series):
        yield _outcome(one, surprise_N[stream_N == number], own[one.name], seconds * len(one))


def _outcome(series: Series, score_N: Float64, alerts: Iterable[Alert], seconds: float) -> Outcome:
    time_N, events = moved(series), len(series)
    opened_N, told_N, balance = np.zeros(events, bool), np.zeros(events), np.zeros(events + 1, np.int64)
    for alert in alerts:
        at = int(np.searchsorted(time_N, micros(alert.times.event)))
        if at == events:
            continue  # silence after the last event: the recording has ended, not the stream
        balance[at] += {Event.OPEN: 1, Event.UPDATE: 0, Event.CLOSE: -1}[alert.event]
        opened_N[at] |= alert.event is Event.OPEN
        if alert.event is not Event.CLOSE:
            told_N[at] = max(told_N[at], alert.severity)
    return Outcome(score_N, opened_N, np.cumsum(balance[:-1]) > 0, told_N, seconds)
