"""Alarms matched with labelled events: what was found, with which delay, and what was false.

A labelled event is a run of labelled rows. It is found if an alarm was raised inside it: an episode that opened before
it cannot have been caused by it. An alarm outside every event is false. Further alarms inside an event are neither.
There is no point adjustment.

Shapes: N events of a series.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.quality.series import Bool, Float64, spans

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Matched:
    """The counts over the labelled events of one series, or of a set."""

    labelled: int
    delays: tuple[int, ...]
    """Rows from the start of each event that was found to the first alarm in it."""
    false_alarms: int
    unlabelled_days: float
    """The time in days in which an alarm would be false."""

    @property
    def found(self) -> int:
        return len(self.delays)

    @property
    def recall(self) -> float:
        return _share(self.found, self.labelled)

    @property
    def precision(self) -> float:
        """Events found, as a share of events found and false alarms."""
        return _share(self.found, self.found + self.false_alarms)

    @property
    def f1(self) -> float:
        return _share(2 * self.found, self.labelled + self.found + self.false_alarms)

    @property
    def delay(self) -> float:
        """The median delay in rows; NaN if nothing was found."""
        return float(median(self.delays)) if self.delays else float("nan")

    @property
    def alarms_per_day(self) -> float:
        """False alarms per stream and day, to compare with the budget."""
        return self.false_alarms / self.unlabelled_days if self.unlabelled_days else float("nan")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def match(label_N: Bool, alarm_N: Bool, interval: float | Float64) -> Matched:
    """Match labelled rows with alarms. `interval` is the number of seconds from a row to the next, of all or of each."""
    labelled = spans(label_N)
    first_alarms = [(first, np.flatnonzero(alarm_N[first : last + 1])) for first, last in labelled]
    delays = tuple(int(inside[0]) for _, inside in first_alarms if len(inside))
    days = float(np.broadcast_to(interval, label_N.shape)[~label_N].sum()) / DAY
    return Matched(len(labelled), delays, int((alarm_N & ~label_N).sum()), days)


def together(parts: Iterable[Matched]) -> Matched:
    """Return several series as one, in which every event and every stream-day has the same weight."""
    every: Sequence[Matched] = list(parts)
    return Matched(
        sum(one.labelled for one in every),
        tuple(delay for one in every for delay in one.delays),
        sum(one.false_alarms for one in every),
        sum(one.unlabelled_days for one in every),
    )
