"""Measure a model on later data with the production detector, over the same events as in production, in the order of
time.

Shapes: N observations of a batch, T events of one stream, D numeric features, C categorical fields.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.calibration import RUN_EVENTS
from anomaly_daemon.detection.detector import Detector, Step
from anomaly_daemon.detection.normalizer import Normalizer
from anomaly_daemon.detection.observation import Int32, Observations, Presence, Schema
from anomaly_daemon.detection.rules import DAY_SECONDS, Rules
from anomaly_daemon.detection.scores import Status
from anomaly_daemon.training.calibrate import evenly
from anomaly_daemon.training.dataset import Cuts, Part, Series
from anomaly_daemon.training.evaluate import of_network
from anomaly_daemon.training.known import Known, left_out, micros, muted
from anomaly_daemon.training.promotion import Measures
from anomaly_daemon.training.rows import Row, network_rows

MOST = 1024
"""The largest number of streams that are measured, evenly spaced among those that go on in the later part."""
TOGETHER = 4096
"""Number of observations in a batch."""
RARE = 0.01
"""Events whose p-value is at most this are counted, once a run. (A p-value is the probability that a run begins.) The
value is rare enough to be in the tail, and common enough to be counted."""
GROUP_EVENTS = 100
"""A group with fewer events in the later part that have a known value gets no figure of its own."""


def judge(
    model: Model,
    schema: Schema,
    rules: Rules,
    series: Sequence[Series],
    cuts: Cuts,
    known: Known,
    window: int,
    tell: Callable[[float], None] = lambda share: None,
) -> Measures:
    """Return the figures of the model on the part from `cuts.test` on. The detector starts `rules.adaptation_events`
    events earlier in each stream, as many as its statistics remember. `tell` is called with the share of events
    processed so far."""
    chosen = evenly([one for one in series if len(one) and one.time_T[-1] >= cuts.test], MOST)
    rows = rows_of(model, schema, rules, left_out(chosen, known)[0])
    run = _Run(cuts.test, known, confirmed(chosen, known, cuts.test))
    # The rules limit the streams of one partition, and these may be those of many. With one bucket all of them fit.
    detector = Detector(model, schema, replace(rules, max_streams=len(chosen)), "later", 0, buckets=1)
    days = stream_days(chosen, cuts.test, muted(chosen, rules.mute, schema.timezone))
    for share, observations in _batches(chosen, cuts.test, int(rules.adaptation_events)):
        tell(share)
        run.take(observations, detector.step(observations))
    return Measures(
        events=run.events,
        loss=of_network(model.network, rows, cuts, window).get("nll", math.nan),
        groups=_groups(model, rows, cuts, window),
        tail=run.rare / max(run.scored, 1) / RARE,
        alarms=run.alarms / max(days, 1e-9),
        found=run.found(),
    )


def confirmed(series: Sequence[Series], known: Known, since: int) -> Known:
    """Return the anomalies confirmed by a person that these series could show from `since` (epoch microseconds) on."""
    spans = {one.key: (max(since, int(one.time_T[0])), int(one.time_T[-1])) for one in series}
    held = {
        key: [one for one in known.get(key, ()) if one.confirmed and one.meets(*span)] for key, span in spans.items()
    }
    return {key: all_ for key, all_ in held.items() if all_}


def group_of(key: str) -> str:
    """Return the group of a stream: the first field of its key. A stream whose key has one field is its own group."""
    return key.split("/", 1)[0]


@dataclass
class _Run:
    """What the detector reports from `since` (epoch microseconds) on."""

    since: int
    known: Known
    confirmed: Known
    events: int = 0
    scored: int = 0
    rare: int = 0
    passed: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    last_rare: defaultdict[str, float] = field(default_factory=lambda: defaultdict(lambda: -math.inf))
    opened: dict[str, tuple[str, int]] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)

    def take(self, observations: Observations, step: Step) -> None:
        later_N = observations.time_N >= self.since
        p_N = step.scores.p_value_N[later_N]
        self.events += int((step.scores.status_N[later_N] != Status.MUTED).sum())
        self.scored += int(np.isfinite(p_N).sum())
        self._count(observations.keys, observations.stream_N[later_N], p_N <= RARE)
        for alert in step.alerts:
            if alert.kind is Kind.PATTERN:
                self._note(alert)

    def _count(self, keys: Sequence[str], stream_N: Int32, rare_N: npt.NDArray[np.bool_]) -> None:
        """Count the rare events that have no rare event among the last `RUN_EVENTS` events of their stream."""
        for stream in np.unique(stream_N).tolist():
            key, rare_T = keys[stream], rare_N[stream_N == stream]
            before, last = self.passed[key], self.last_rare[key]
            for place in (before + np.flatnonzero(rare_T)).tolist():
                self.rare += place - last > RUN_EVENTS
                last = place
            self.passed[key], self.last_rare[key] = before + len(rare_T), last

    def _note(self, alert: Alert) -> None:
        if alert.event is Event.OPEN:
            self.opened[alert.alert_id] = (alert.stream.key, micros(alert.times.event))
        elif alert.event is Event.CLOSE:
            self.closed[alert.alert_id] = micros(alert.times.event)

    @property
    def alarms(self) -> int:
        """Number of pattern episodes that opened outside every interval in `known`."""
        return sum(
            at >= self.since and not any(one.meets(at, at) for one in self.known.get(key, ()))
            for key, at in self.opened.values()
        )

    def found(self) -> float | None:
        spans = [(key, one) for key, all_ in self.confirmed.items() for one in all_]
        met = [
            any(of == key and one.meets(at, self.closed.get(name, math.inf)) for name, (of, at) in self.opened.items())
            for key, one in spans
        ]
        return sum(met) / len(met) if met else None


def rows_of(model: Model, schema: Schema, rules: Rules, series: Sequence[Series]) -> list[Row]:
    """Return the input of the model's network for these series."""
    manifest = model.manifest
    words = {name: list(texts) for name, texts in manifest.vocabulary.items()}
    return network_rows(
        series, schema, words, Normalizer(manifest.normalizer, rules.adaptation_events), manifest.network.layout
    )


def _groups(model: Model, rows: Sequence[Row], cuts: Cuts, window: int) -> dict[str, float]:
    members: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[group_of(row.key)].append(row)
    return {
        group: of_network(model.network, some, cuts, window)["nll"]
        for group, some in members.items()
        if _later(some, cuts) >= GROUP_EVENTS
    }


def _later(rows: Sequence[Row], cuts: Cuts) -> int:
    """The number of events in the later part with a known value. The rows of one stream (in the channel layout there is
    one for each feature) share its events."""
    known: dict[str, npt.NDArray[np.bool_]] = {}
    for row in rows:
        known_T = row.mask_TD[slice(*cuts.span(row.time_T, Part.TEST))].any(axis=1)
        known[row.key] = known_T | known.get(row.key, np.zeros_like(known_T))
    return sum(int(known_T.sum()) for known_T in known.values())


def stream_days(series: Sequence[Series], since: int, quiet: Known = MappingProxyType({})) -> float:
    """Return the days of event time from `since` (epoch microseconds) on, summed over streams, without the muted
    intervals `quiet`."""
    later = sum(max(0, int(one.time_T[-1]) - max(since, int(one.time_T[0]))) for one in series)
    hushed = sum(max(0, one.end - max(since, one.start)) for all_ in quiet.values() for one in all_)
    return (later - hushed) / (DAY_SECONDS * 1e6)


def _batches(series: Sequence[Series], since: int, lead: int) -> Iterator[tuple[float, Observations]]:
    """Yield batches in the order of time, each with the share of all events that precede it."""
    recent = [one.window(max(one.start_of(since) - lead, 0)) for one in series]
    stream_N = np.concatenate([np.full(len(one), place, np.int32) for place, one in enumerate(recent)])
    time_N = np.concatenate([one.time_T for one in recent])
    values_ND = np.concatenate([one.values_TD for one in recent])
    categories_NC = np.concatenate([one.categories_TC for one in recent])
    order, keys = np.argsort(time_N, kind="stable"), tuple(one.key for one in recent)
    for start in range(0, len(order), TOGETHER):
        at = order[start : start + TOGETHER]
        presence_ND = np.where(np.isnan(values_ND[at]), Presence.ABSENT, Presence.PRESENT).astype(np.uint8)
        offset_N, index_N = np.arange(start, start + len(at)), np.zeros(len(at), np.int32)
        columns = (stream_N[at], offset_N, index_N, time_N[at], time_N[at], values_ND[at], presence_ND)
        yield start / len(order), Observations("later", 0, keys, *columns, categories_NC[at], {})
