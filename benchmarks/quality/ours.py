"""The daemon's own detection code over labelled series, with the shipped network and the default settings for every
set.

The series of a set run at once, as the streams of one partition do. So that they run side by side like the streams of a
live deployment, each series is moved by whole weeks to one common week, which keeps the time of day and the day of the
week.

`Detector` is stepped directly, as `daemon.partition` steps it. A test compares the result with that of a whole worker.

Shapes: S streams, N events of all of them, D fields.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.alert import Alert, Event
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.observation import Int32, Observations, Presence
from anomaly_daemon.regime import rules_of
from anomaly_daemon.report.episodes import micros
from anomaly_daemon.settings import Settings
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.series import Float64, Int64, Series

NAME = "anomaly-daemon"
TOPIC = "quality"
BATCH = 4096
"""Events in one step."""

WEEK = 7 * 86_400_000_000
EPOCH = 2_830 * WEEK
"""The start of a week of 2024, in epoch microseconds, that every series is moved to."""


def settings_of(
    fields: int, per_day: float, field: Mapping[str, Any] = MappingProxyType({}), **detection: Any
) -> Settings:
    """Return the default settings for this many numeric fields. `field` are keys of each field, `detection` keys of
    that section."""
    numeric = [{"name": f"field_{number}", **field} for number in range(fields)]
    return Settings.model_validate(
        {
            "source": {"topic": TOPIC},
            "stream": {"numeric": numeric},
            "detection": {"budget": {"alarms_per_stream_per_day": per_day}, **detection},
        }
    )


def detect(series: Sequence[Series], per_day: float, model: Model | None = None) -> list[Outcome]:
    """Return one outcome a series. Series with the same number of fields are streams of one deployment."""
    return by_fields(series, lambda alike: detect_with(alike, settings_of(alike[0].values_ND.shape[1], per_day), model))


def by_fields(series: Sequence[Series], detect_alike: Callable[[Sequence[Series]], Sequence[Outcome]]) -> list[Outcome]:
    """Return one outcome a series, from a function that takes series with the same number of fields."""
    found: dict[str, Outcome] = {}
    for fields in sorted({one.values_ND.shape[1] for one in series}):
        alike = [one for one in series if one.values_ND.shape[1] == fields]
        found |= {one.name: outcome for one, outcome in zip(alike, detect_alike(alike), strict=True)}
    return [found[one.name] for one in series]


def detect_with(series: Sequence[Series], settings: Settings, model: Model | None = None) -> list[Outcome]:
    """Return one outcome a series, with settings that the caller gives. All series have the same number of fields."""
    batch = side_by_side(series)
    began = time.perf_counter()
    p_value_N, alerts = stepped(batch, settings, model)
    seconds = (time.perf_counter() - began) / len(batch)
    return list(outcomes(series, batch.stream_N, p_value_N, alerts, seconds))


def stepped(everything: Observations, settings: Settings, model: Model | None = None) -> tuple[Float64, list[Alert]]:
    """Return the p-values and alerts of a new detector with these settings."""
    torch.set_num_threads(1)
    chosen = model or read_model(settings.model.path)
    detector = Detector(chosen, settings.stream.schema_(), rules_of(settings), TOPIC, 0)
    p_value_N, alerts = np.empty(len(everything)), []
    for start in range(0, len(everything), BATCH):
        step = detector.step(everything.take(slice(start, start + BATCH)))
        p_value_N[start : start + BATCH] = step.scores.p_value_N
        alerts += step.alerts
    return p_value_N, alerts


def side_by_side(series: Sequence[Series]) -> Observations:
    """Return the events of all series in order of time, each series moved to the common week."""
    time_N = np.concatenate([moved(one) for one in series])
    stream_N = np.repeat(np.arange(len(series), dtype=np.int32), [len(one) for one in series])
    order = np.argsort(time_N, kind="stable")
    values_ND = np.concatenate([one.values_ND for one in series])
    return observed(tuple(one.name for one in series), stream_N[order], time_N[order], values_ND[order])


def observed(keys: tuple[str, ...], stream_N: Int32, time_N: Int64, values_ND: Float64) -> Observations:
    """Return numeric events in the form that the daemon's codec produces."""
    events = len(time_N)
    presence_ND = np.where(np.isnan(values_ND), Presence.ABSENT, Presence.PRESENT).astype(np.uint8)
    return Observations(
        topic=TOPIC,
        partition=0,
        keys=keys,
        stream_N=stream_N,
        offset_N=np.arange(events),
        index_N=np.zeros(events, np.int32),
        time_N=time_N,
        append_N=time_N,
        values_ND=values_ND,
        presence_ND=presence_ND,
        categories_NC=np.zeros((events, 0), np.int64),
        category_names={},
    )


def moved(series: Series) -> Int64:
    """Return the times of a series in the common week."""
    return series.time_N + (EPOCH // WEEK - series.time_N[0] // WEEK) * WEEK


def outcomes(
    series: Sequence[Series], stream_N: Int64, p_value_N: Float64, alerts: Iterable[Alert], seconds: float
) -> Iterator[Outcome]:
    """Yield the scores and alerts of each series as its outcome. `seconds` is the time that one event took."""
    own: dict[str, list[Alert]] = {one.name: [] for one in series}
    for alert in alerts:
        own[alert.stream.key].append(alert)
    surprise_N = surprise(p_value_N)
    for number, one in enumerate(series):
        yield _outcome(one, surprise_N[stream_N == number], own[one.name], seconds * len(one))


def surprise(p_value_N: Float64) -> Float64:
    """Return -log10 of the p-value, at most 300; NaN where it is not known."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(-np.log10(p_value_N), 300.0))


def _outcome(series: Series, score_N: Float64, alerts: Iterable[Alert], seconds: float) -> Outcome:
    time_N, events = moved(series), len(series)
    opened_N, balance = np.zeros(events, bool), np.zeros(events + 1, np.int64)
    for alert in alerts:
        at = int(np.searchsorted(time_N, micros(alert.times.event)))
        if at == events:
            continue  # silence after the last event: the recording has ended, not the stream
        balance[at] += {Event.OPEN: 1, Event.UPDATE: 0, Event.CLOSE: -1}[alert.event]
        opened_N[at] |= alert.event is Event.OPEN
    return Outcome(score_N, opened_N, np.cumsum(balance[:-1]) > 0, seconds)
