"""Episodes: turns alarms into open, update and close, for each kind of anomaly by the same state machine.

    closed --alarm--> open --alarm, worse, elsewhere or long silent--> update --calm, close_after times--> close
                        \\--alarms for accept_seconds--> close ("new level accepted")

An update is sent at once if the episode becomes much worse, or if, after calm that would have closed it, alarms return
and are led by a field that has led none of its alarms: another fault has begun, and the episode is open already.

A stream's single events may be calm while it is surprising on average, as a valve that is half shut is. Its episode
then stays open until neither is the case, or until there was no alarm for `accept_seconds`. An episode is always closed
before the next one opens.

What was accepted is not reported again while it goes on. It ends when there was enough calm to close an episode, or
after `GOES_ON` times `accept_seconds`. It is reported again if it becomes much worse than it was, or as severe as can
be, or if another field leads. The alarms of what was accepted are not part of an episode that opens beside it.

Shapes: B rows, E kinds (`KINDS`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.alert import Event, Kind
from anomaly_daemon.detection.observation import Float64, Int64
from anomaly_daemon.detection.rules import EpisodeRule
from anomaly_daemon.detection.state import Column, Rows

Bool = npt.NDArray[np.bool_]

KINDS = tuple(Kind)
SEVERITY_AT_LIMIT = 50.0
"""The severity of an event that just reaches the limit of an anomaly."""

WORSE = 25.0
"""An update is sent at once if the severity is this many points above the highest one published so far."""

GOES_ON = 7.0
"""The longest time for which accepted behaviour may go on without being reported, in units of `accept_seconds`."""

BITS = 52
"""Number of bits for the fields that led alarms. With more fields than this, some share a bit."""

TOLD = ("told_severity", "told_time")
ACCEPTED = ("accepted", "worst", "led", "settled")
OPEN = ("open", "start", "last", "again", "count", "calm", "offset", "index", "peak", "leads")
COLUMNS = tuple(Column(f"episode_{name}", (len(KINDS),)) for name in (*OPEN, *ACCEPTED, *TOLD))
"""What a row keeps of each kind's episode. `offset` and `index` are those of the observation that opened it. `again` is
the time at which alarms came back after enough calm to close the episode, 0 if they never did. `leads` has a bit for
each field that led an alarm. `told_severity` is the highest severity published so far, and `told_time` the time of the
last open or update. For accepted behaviour that goes on: `accepted`, the time since when (0: there is none); `worst`,
how severe it was; `led`, the bits of its fields; `settled`, the number of calm events."""


class Reason(StrEnum):
    """The reason why an episode closed."""

    RECOVERED = "back to normal"
    ACCEPTED = "new level accepted"
    ENDED = "the stream has ended"
    EVICTED = "the stream was forgotten: limits.streams is reached"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What this event means for the episodes of one kind, [B] each. A row that is neither alarm nor calm leaves its
    episode as it is."""

    alarm: Bool
    calm: Bool
    surprising: Bool
    """Anomalous on average, over this event and those before it."""
    severity: Float64
    time: Float64
    """Event time in microseconds."""
    offset: Float64
    index: Float64
    field_B: Int64 | int = 0
    """The field that leads."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of one row's episode, to be published as an alert."""

    row: int
    kind: Kind
    event: Event
    reason: Reason | None
    start: int
    last: int
    end: int | None
    count: int
    peak: float
    severity: float
    offset: int
    index: int


def turn(rows: Rows, kind: Kind, seen: Sighting, rule: EpisodeRule) -> list[Turn]:
    """Update each row's episode of this kind by one event, and return the changes to publish."""
    e = _Episode(rows, KINDS.index(kind))
    was_open, known = e["open"] > 0, _goes_on(e, kind, seen.time, rule)
    if not (seen.alarm.any() or was_open.any() or known.any()):
        return []
    alarm = seen.alarm & ~(known & _as_accepted(e, seen))
    opens, more = alarm & ~was_open, alarm & was_open
    elsewhere = more & (e["calm"] >= rule.close_after) & ~_led(e["leads"], seen)
    e["again"] = np.where(more & (e["calm"] >= rule.close_after), seen.time, e["again"])
    _begin(e, opens, seen)
    _extend(e, alarm, seen)
    e["calm"] = np.where(alarm, 0.0, e["calm"] + (seen.calm & was_open))
    over, patience = e["calm"] >= rule.close_after, rule.accept_seconds * 1e6
    accepted = was_open & ~over & (seen.time - np.maximum(e["start"], e["again"]) > patience)
    recovered = was_open & over & (~seen.surprising | (seen.time - e["last"] > patience))
    worse = more & (seen.severity >= e["told_severity"] + WORSE)
    due = more & (seen.time - e["told_time"] >= rule.renotify_seconds * 1e6)
    updates = (worse | due | elsewhere) & ~accepted
    e["told_severity"] = np.where(opens | updates, np.maximum(seen.severity, e["told_severity"]), e["told_severity"])
    e["told_time"] = np.where(opens | updates, seen.time, e["told_time"])
    turns = [
        *_tell(e, kind, opens, Event.OPEN, None, seen),
        *_tell(e, kind, updates, Event.UPDATE, None, seen),
        *_tell(e, kind, recovered, Event.CLOSE, Reason.RECOVERED, seen),
        *_tell(e, kind, accepted, Event.CLOSE, Reason.ACCEPTED, seen),
    ]
    e["open"] = np.where(opens, 1.0, np.where(recovered | accepted, 0.0, e["open"]))
    if kind is Kind.PATTERN:
        e["settled"] = np.where(seen.alarm, 0.0, e["settled"] + (seen.calm & known))
        went_on = e["last"] - np.maximum(e["start"], e["again"]) > patience / 2.0
        _accept(e, accepted & went_on, known & (e["settled"] < rule.close_after), seen.time)
    return turns


def _accept(e: _Episode, accepted: Bool, known: Bool, time_B: Float64) -> None:
    """Store what was accepted. If earlier accepted behaviour still goes on (`known`), both are merged, and expire with
    the earlier one. The caller passes only episodes with recent alarms: one alarm a day ago, and none since, is not
    something that goes on."""
    worst, led = np.where(known, e["worst"], 0.0), np.where(known, e["led"], 0.0).astype(np.int64)
    e["worst"] = np.where(accepted, np.maximum(e["peak"], worst), worst)
    e["led"] = np.where(accepted, e["leads"].astype(np.int64) | led, led)
    e["settled"] = np.where(known & ~accepted, e["settled"], 0.0)
    e["accepted"] = np.where(known, e["accepted"], np.where(accepted, time_B, 0.0))


def _goes_on(e: _Episode, kind: Kind, time_B: Float64, rule: EpisodeRule) -> Bool:
    """Return where accepted behaviour still goes on, and forget it elsewhere. For kinds other than patterns nothing is
    surprising any more once it was accepted."""
    if kind is not Kind.PATTERN:
        return np.zeros(len(time_B), bool)
    known = (e["accepted"] > 0) & (time_B - e["accepted"] <= GOES_ON * rule.accept_seconds * 1e6)
    _forget(e, ~known)
    return known


def _forget(e: _Episode, which: Bool) -> None:
    """Forget what was accepted in these rows."""
    for name in ACCEPTED:
        e[name] = np.where(which, 0.0, e[name])


def _as_accepted(e: _Episode, seen: Sighting) -> Bool:
    """Return where the event is no more than what was accepted: led by a field that led it, and not much more severe."""
    return np.asarray(_led(e["led"], seen) & (seen.severity < np.minimum(e["worst"] + WORSE, 100.0)))


def _led(leads_B: Float64, seen: Sighting) -> Bool:
    """Return whether the field that leads now is among these, which have a bit each."""
    return np.asarray((leads_B.astype(np.int64) & _bit(seen)) > 0)


def _bit(seen: Sighting) -> Int64:
    return np.left_shift(np.int64(1), np.asarray(seen.field_B, np.int64) % BITS)


def end(rows: Rows, kind: Kind, which: Bool, time_B: Float64, reason: Reason = Reason.ENDED) -> list[Turn]:
    """Close the episodes of this kind that are open in these rows. Nothing more is expected from the streams."""
    e = _Episode(rows, KINDS.index(kind))
    _forget(e, which)
    closes = which & (e["open"] > 0)
    if not closes.any():
        return []
    nothing = np.zeros(len(rows), bool)
    seen = Sighting(nothing, nothing, nothing, e["peak"], time_B, e["offset"], e["index"])
    turns = list(_tell(e, kind, closes, Event.CLOSE, reason, seen))
    e["open"] = np.where(closes, 0.0, e["open"])
    return turns


class _Episode:
    """The columns of one kind of episode, by their short names."""

    def __init__(self, rows: Rows, kind: int) -> None:
        self._rows, self._kind = rows, kind

    def __getitem__(self, name: str) -> Float64:
        return self._rows[f"episode_{name}"][:, self._kind]

    def __setitem__(self, name: str, value_B: npt.NDArray[np.float64]) -> None:
        self._rows[f"episode_{name}"][:, self._kind] = value_B


def _begin(e: _Episode, opens: Bool, seen: Sighting) -> None:
    for name, value_B in (("start", seen.time), ("offset", seen.offset), ("index", seen.index)):
        e[name] = np.where(opens, value_B, e[name])
    for name in ("count", "peak", "told_severity", "again", "leads"):
        e[name] = np.where(opens, 0.0, e[name])


def _extend(e: _Episode, alarm: Bool, seen: Sighting) -> None:
    e["last"] = np.where(alarm, seen.time, e["last"])
    e["count"] = e["count"] + alarm
    e["leads"] = np.where(alarm, e["leads"].astype(np.int64) | _bit(seen), e["leads"])
    e["peak"] = np.where(alarm, np.maximum(e["peak"], seen.severity), e["peak"])


def _tell(e: _Episode, kind: Kind, which: Bool, event: Event, reason: Reason | None, seen: Sighting) -> Iterator[Turn]:
    """Yield the turn of each of these rows. An episode never ends before it starts: a silence starts when the watermark
    says so, and the record that ends it may have been held up and be older."""
    for row in np.flatnonzero(which).tolist():
        yield Turn(
            row,
            kind,
            event,
            reason,
            start=int(e["start"][row]),
            last=int(e["last"][row]),
            end=int(max(seen.time[row], e["start"][row])) if event is Event.CLOSE else None,
            count=int(e["count"][row]),
            peak=float(e["peak"][row]),
            severity=float(seen.severity[row]) if seen.alarm[row] else 0.0,
            offset=int(e["offset"][row]),
            index=int(e["index"][row]),
        )
