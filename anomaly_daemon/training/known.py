"""Intervals of streams that are known to be anomalous, from published episodes and from feedback on them, and intervals
inside mute windows in which nothing is learned. Pure.

An event inside such an interval counts as missing: it costs no loss, is not learned by the normaliser and does not
enter the calibration. The time between events still includes it.

Shapes: T events of one series, D numeric features, C categorical fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.alert import Alert, Event, Kind
from anomaly_daemon.detection.episode import Reason
from anomaly_daemon.detection.feedback import Label
from anomaly_daemon.detection.mute import Mutes
from anomaly_daemon.detection.observation import MISSING_CATEGORY, Int64
from anomaly_daemon.detection.rules import MuteRule
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.training.dataset import Cuts, Series, cut_points


@dataclass(frozen=True, slots=True)
class Stretch:
    """An interval of one stream, epoch microseconds, both ends included."""

    start: int
    end: int
    confirmed: bool = False
    """Whether a person has called it an anomaly."""

    def meets(self, start: float, end: float) -> bool:
        """Return whether this interval and the one from `start` to `end` overlap."""
        return self.start <= end and start <= self.end


Known = Mapping[str, Sequence[Stretch]]
"""Intervals by stream key."""


def stretches(alerts: Iterable[Alert], labels: Mapping[str, Label]) -> Known:
    """Return the interval of every episode that is taken for an anomaly. Excluded are the episodes that a person has
    labelled otherwise, and those without a label that closed because the detector accepted the new level.

    An episode that has no close message lasts until its last message.
    """
    last: dict[str, Alert] = {}
    for alert in alerts:
        known = last.get(alert.alert_id)
        if known is None or (known.event is not Event.CLOSE and micros(alert.times.event) >= micros(known.times.event)):
            last[alert.alert_id] = alert
    found: dict[str, list[Stretch]] = {}
    for alert in last.values():
        label = labels.get(alert.alert_id)
        if label is Label.TRUE or (label is None and not _accepted(alert)):
            stretch = Stretch(micros(alert.episode.start), _end(alert), label is Label.TRUE)
            found.setdefault(alert.stream.key, []).append(stretch)
    return found


def muted(series: Sequence[Series], rules: Sequence[MuteRule], timezone: str) -> Known:
    """Return the intervals of each series that lie in mute windows without learning, each from the first event in the
    window to the last."""
    mutes = Mutes.of(rules, timezone)
    if mutes is None:
        return {}
    found: dict[str, list[Stretch]] = {}
    for one in series:
        inside_T = mutes.left_out(one.key, one.time_T)
        edges = np.flatnonzero(np.diff(inside_T.astype(np.int8), prepend=0, append=0))
        for first, after in edges.reshape(-1, 2).tolist():
            stretch = Stretch(int(one.time_T[first]), int(one.time_T[after - 1]))
            found.setdefault(one.key, []).append(stretch)
    return found


def cut_heard(series: Sequence[Series], quiet: Known, validation_share: float, test_share: float) -> Cuts:
    """Return `cut_points` of the events outside mute windows. A part that lay entirely in one would measure nothing."""
    audible = [replace(one, time_T=one.time_T[~within(quiet.get(one.key, ()), one.time_T)]) for one in series]
    return cut_points(audible, validation_share, test_share)


@contextmanager
def naming_left_out(series: Sequence[Series], quiet: Known, anomalies: Known = MappingProxyType({})) -> Iterator[None]:
    """Add to a ConfigurationError raised in the block how many events the mute windows and the known anomalies exclude.
    Otherwise a user who has given enough events would not learn why they are too few."""
    try:
        yield
    except ConfigurationError as error:
        whole = sum(map(len, series))
        named = {"detection.mute excludes": quiet, "known anomalies (published episodes) exclude": anomalies}
        gone = {
            text: sum(int(within(known.get(one.key, ()), one.time_T).sum()) for one in series)
            for text, known in named.items()
        }
        reasons = [f"{text} {count} of {whole} events" for text, count in gone.items() if count]
        if not reasons:
            raise
        raise ConfigurationError(f"{error} ({'; '.join(reasons)})") from error


def both(known: Known, more: Known) -> Known:
    """Return all intervals of the two mappings."""
    return {key: [*known.get(key, ()), *more.get(key, ())] for key in {**known, **more}}


def opened(alerts: Iterable[Alert], series: Sequence[Series], since: int) -> int:
    """Return the number of pattern episodes that opened in these series at or after `since` (epoch microseconds), and
    no later than the stream's last event, each counted once."""
    last = {one.key: int(one.time_T[-1]) for one in series}
    return len(
        {
            alert.alert_id
            for alert in alerts
            if (alert.kind, alert.event) == (Kind.PATTERN, Event.OPEN)
            and since <= micros(alert.times.event) <= last.get(alert.stream.key, -math.inf)
        }
    )


def micros(text: str) -> int:
    """Convert ISO 8601 to epoch microseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def within(known: Sequence[Stretch], time_T: Int64) -> npt.NDArray[np.bool_]:
    """Return which of these moments lie in one of the intervals, [T]."""
    inside_T = np.zeros(len(time_T), bool)
    for one in known:
        first, last = np.searchsorted(time_T, [one.start, one.end + 1])
        inside_T[first:last] = True
    return inside_T


def left_out(series: Sequence[Series], known: Known) -> tuple[list[Series], float]:
    """Return the series with the events in known intervals set to missing, and the share of such events."""
    kept, gone = [], 0
    for one in series:
        inside_T = within(known.get(one.key, ()), one.time_T)
        gone += int(inside_T.sum())
        kept.append(_without(one, inside_T) if inside_T.any() else one)
    return kept, gone / max(sum(map(len, series)), 1)


def _without(one: Series, inside_T: npt.NDArray[np.bool_]) -> Series:
    values_TD, categories_TC = one.values_TD.copy(), one.categories_TC.copy()
    values_TD[inside_T], categories_TC[inside_T] = np.nan, MISSING_CATEGORY
    return replace(one, values_TD=values_TD, categories_TC=categories_TC)


def _accepted(alert: Alert) -> bool:
    return alert.event is Event.CLOSE and alert.reason.startswith(Reason.ACCEPTED.value)


def _end(alert: Alert) -> int:
    """Return the end of the episode, in epoch microseconds. An episode that is not closed lasts at least until the time
    of the message, because for a silence only that time shows how long it has lasted."""
    end = micros(alert.episode.end or alert.episode.last)
    return end if alert.event is Event.CLOSE else max(end, micros(alert.times.event))
