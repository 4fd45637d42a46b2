"""What is known to be anomalous: stretches of streams, from published episodes and what people said of them; and what lies
in mute windows that teach nothing. Pure.

An event of such a stretch counts as missing: it costs no loss, teaches no normaliser and enters no calibration, while
its time still counts.

Shapes: T events of one series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

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
    """A stretch of a stream, epoch microseconds, both ends included."""

    start: int
    end: int
    confirmed: bool = False
    """A person said so."""

    def meets(self, start: float, end: float) -> bool:
        """Whether the two have a moment in common."""
        return self.start <= end and start <= self.end


Known = Mapping[str, Sequence[Stretch]]
"""By stream key."""


def stretches(alerts: Iterable[Alert], labels: Mapping[str, Label]) -> Known:
    """Of every episode that nobody has called normal, and that was not taken for the new normal by itself.

    An episode without a close lasts to its last message.
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
    """Of every mute window that teaches nothing, from a series' first event in it to the last."""
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
    """`cut_points` of the events outside mute windows: a part that lay wholly in one would measure nothing."""
    heard = [replace(one, time_T=one.time_T[~within(quiet.get(one.key, ()), one.time_T)]) for one in series]
    return cut_points(heard, validation_share, test_share)


@contextmanager
def naming_windows(series: Sequence[Series], quiet: Known) -> Iterator[None]:
    """Whoever has given enough events, and is refused for too few, learns where they have gone."""
    try:
        yield
    except ConfigurationError as error:
        gone = sum(int(within(quiet.get(one.key, ()), one.time_T).sum()) for one in series)
        if not gone:
            raise
        raise ConfigurationError(
            f"{error} (detection.mute leaves out {gone} of {sum(map(len, series))} events)"
        ) from error


def both(known: Known, more: Known) -> Known:
    """All stretches of the two."""
    return {key: [*known.get(key, ()), *more.get(key, ())] for key in {**known, **more}}


def opened(alerts: Iterable[Alert], since: int) -> int:
    """Pattern episodes that opened at or after `since`, each once."""
    return len(
        {
            alert.alert_id
            for alert in alerts
            if (alert.kind, alert.event) == (Kind.PATTERN, Event.OPEN) and micros(alert.times.event) >= since
        }
    )


def micros(text: str) -> int:
    """ISO 8601 as epoch microseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def within(known: Sequence[Stretch], time_T: Int64) -> npt.NDArray[np.bool_]:
    """Which of these moments lie in a stretch."""
    inside_T = np.zeros(len(time_T), bool)
    for one in known:
        first, last = np.searchsorted(time_T, [one.start, one.end + 1])
        inside_T[first:last] = True
    return inside_T


def left_out(series: Sequence[Series], known: Known) -> tuple[list[Series], float]:
    """The series with what is known to be anomalous as missing, and the share of all events that this is."""
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
    """Of a silence only the message itself says how long it has lasted."""
    told = micros(alert.episode.end or alert.episode.last)
    return told if alert.event is Event.CLOSE else max(told, micros(alert.times.event))
