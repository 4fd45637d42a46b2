"""Judges from a run of records whether the configuration fits them: why records could not be read, and which fields
none of them held.

One record that cannot be read is a fault of the record. If most cannot be read, or if a field never occurs, the
configuration is wrong, and the operator needs an explanation in words.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from anomaly_daemon.detection.observation import MISSING_CATEGORY, Observations, Presence, Transform
from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport.counting import Rises
from anomaly_daemon.transport.rejection import Reason
from anomaly_daemon.transport.yaml_text import quoted

MALFORMED_SHARE = 0.5
"""If a larger share of the records than this is unreadable, the configuration is wrong and not the records."""

OLDEST = 631_152_000_000_000
"""1990 in epoch microseconds. Seconds that are read as milliseconds give times in 1970."""

ODD_SHARE = 0.01
"""If a larger share of the events than this is older than an earlier event of its stream, the operator should check
why. A few late events are usual."""

SORT = "sort the records by time, oldest first"
TURN = f"{SORT} (of a file that is newest first: tac FILE; with a header: (head -n 1 FILE; tail -n +2 FILE | tac))"
TELL_APART = "if several sources share a stream, add a field to stream.key that tells them apart"
"""Advice for a topic, whose records cannot be sorted."""
SET_BACK = "if clocks were set back an hour (winter time), write times in UTC or with their offset"
"""Given before the other advice. Sorting would mix the repeated hour with the one before."""
HALF_AN_HOUR, AN_HOUR = 1_800_000_000, 3_600_000_000
"""In microseconds. The events of an hour that local clocks repeat are behind by at most an hour, the first of them by
nearly that."""


def backwards(late: int, events: int, advice: str = TURN) -> str | None:
    """Return a message if most of the events are late, and are therefore skipped; else None. Times then run backwards,
    or keys mix streams."""
    if late <= MALFORMED_SHARE * events:
        return None
    return f"{late:,} of {events:,} events are older than an earlier one of their stream, and skipped as late: {advice}"


class Legible:
    """Counts over a run what was read and what was not. Its memory does not grow with the run."""

    def __init__(self, stream: StreamSettings, *, of_topic: bool = False) -> None:
        """`of_topic`: the records are in the order of a topic, and not of a file that could be sorted."""
        self._of_topic = of_topic
        self._numeric = [(one.name, one.field or one.name) for one in stream.numeric]
        self._rises = {d: Rises() for d, one in enumerate(stream.numeric) if one.transform is not Transform.RATE}
        self._categorical = stream.categorical
        self.events = 0
        self.reasons: Counter[str] = Counter()
        self._example = ""
        self._presence_DP = np.zeros((len(stream.numeric), len(Presence)), np.int64)
        self._known_C = np.zeros(len(stream.categorical), np.int64)
        self._latest = 0
        self._behind = None if stream.late == "accept" else 0
        self._furthest = 0
        self._twice = 0

    def read(self, observations: Observations) -> None:
        """Count observations, which are records that could be read."""
        self.events += len(observations)
        for presence in Presence:
            self._presence_DP[:, presence] += (observations.presence_ND == presence).sum(axis=0)
        self._known_C += (observations.categories_NC != MISSING_CATEGORY).sum(axis=0)
        self._latest = max(self._latest, int(observations.time_N.max(initial=0)))
        behind, furthest, twice = _left_out(observations)
        self._furthest = max(self._furthest, furthest)
        self._twice += twice
        for d, rises in self._rises.items():
            rises.read(observations.stream_N.astype(np.int64), observations.values_ND[:, d])
        if self._behind is not None:
            self._behind += behind

    def refused(self, reason: str, detail: str) -> None:
        """Count a record that was rejected. A late record is not counted: it could be read, and is no fault of the
        configuration."""
        if reason != Reason.LATE:
            self.reasons[reason] += 1
            self._example = self._example or detail

    def complaint(self, records: int) -> str | None:
        """Return what is wrong with most of the records: they cannot be read, or their times run backwards. None:
        nothing."""
        return self.unreadable(records) or backwards(
            self._behind or 0, self.events, TELL_APART if self._of_topic else TURN
        )

    def unreadable(self, records: int) -> str | None:
        """If most of the records could not be read, return how many, the reasons, and one example; else None."""
        if self.reasons.total() <= MALFORMED_SHARE * records:
            return None
        count = f"{self.reasons.total():,} of {records:,} records could not be read"
        return f"{count} ({self.summary()}): correct the stream section; `anomaly-daemon init` writes one from a sample"

    def summary(self) -> str:
        """Return each reason with its count, and the detail of the first rejected record."""
        counts = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common())
        return f"{counts}; for example: {self._example}"

    def doubts(self) -> list[str]:
        """Return what the operator should check, a line each: times in another unit or out of order, events that are
        sent twice, fields that look like counters, and every field that no event held. The list is empty until there is
        an event."""
        if not self.events:
            return []
        found = [
            _never(name, field, int(by_P[Presence.WRONG_TYPE]), int(by_P[Presence.NOT_FINITE]), self.events)
            for (name, field), by_P in zip(self._numeric, self._presence_DP, strict=True)
            if not by_P[Presence.PRESENT]
        ]
        if self._latest < OLDEST:
            why = "check stream.time_unit, unless times are counted from some other start"
            found.insert(0, f"stream.time: every event is before 1990: {why}, {self.events:,} events")
        if ODD_SHARE * self.events < (self._behind or 0) <= MALFORMED_SHARE * self.events:
            behind = f"{self._behind:,} of {self.events:,} events are older than an earlier one of their stream"
            advice = TELL_APART if self._of_topic else SORT
            if HALF_AN_HOUR <= self._furthest <= AN_HOUR:
                advice = f"{SET_BACK}; else {advice}"
            found.append(f"stream.time: {behind}, and skipped as late (see stream.late): {advice}")
        if self._twice > ODD_SHARE * self.events:
            twice = f"{self._twice:,} of {self.events:,} events have the time and every value of the event before them"
            why = "they are sent twice, or readings come faster than the resolution of the times"
            found.append(f"stream.time: {twice} of their stream, and are skipped as duplicates: {why}")
        found += [_counts(*self._numeric[d], rises) for d, rises in self._rises.items() if rises.counts]
        return found + [
            f"stream.categorical {name}: present in none of {self.events:,} events: correct its name, or remove it"
            for name, known in zip(self._categorical, self._known_C.tolist(), strict=True)
            if not known
        ]


def _counts(name: str, field: str, found: Rises) -> str:
    what = f"stream.numeric {name}: never lower than before in {found.rises:,} changes"
    if found.falls:
        what = (
            f"stream.numeric {name}: {found.falls:,} times lower than before in {found.rises + found.falls:,} changes"
        )
    named = quoted(name) if name == field else f"{quoted(name)}, field: {quoted(field)}"
    return f"{what}: if it is a counter, judge its rate instead: {{name: {named}, transform: rate}}"


def _never(name: str, field: str, wrong_type: int, not_finite: int, events: int) -> str:
    what = f"stream.numeric {name}" + ("" if name == field else f" (field {field})")
    if wrong_type:
        return f"{what}: never a number in {events:,} events, {wrong_type:,} times of another type, such as text"
    if not_finite:
        return f"{what}: never a finite number in {events:,} events"
    return f"{what}: present in none of {events:,} events: correct its name, or remove it"


def _left_out(observations: Observations) -> tuple[int, int, int]:
    """Return how many events of a batch are older than an earlier one of their stream, by how many microseconds at
    most, and how many repeat the event before them in their stream. Other batches are not considered, so the counts are
    never too high."""
    if not len(observations):
        return 0, 0, 0
    order_N = np.argsort(observations.stream_N, kind="stable")
    stream_N = observations.stream_N[order_N].astype(np.int64)
    times, rank_N = np.unique(observations.time_N[order_N], return_inverse=True)
    place_N = stream_N * len(times) + rank_N.reshape(-1)  # orders by stream, then by time
    latest_N = np.maximum.accumulate(place_N)
    values_ND, codes_NC = observations.values_ND[order_N], observations.categories_NC[order_N]
    before_ND, after_ND = values_ND[:-1], values_ND[1:]
    same_N = ((after_ND == before_ND) | (np.isnan(after_ND) & np.isnan(before_ND))).all(axis=1)
    same_N &= (codes_NC[1:] == codes_NC[:-1]).all(axis=1) & (place_N[1:] == place_N[:-1])
    behind_N = times[latest_N - stream_N * len(times)] - observations.time_N[order_N]
    return int((behind_N > 0).sum()), int(behind_N.max()), int((same_N & (place_N[1:] == latest_N[1:])).sum())
