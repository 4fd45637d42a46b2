"""The order of events within a batch: the rounds, and the watermark at each record.

Shapes: N observations in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Int64, Observations


@dataclass(frozen=True, slots=True)
class Trigger:
    """The record that caused something to happen. `append` is -1 where the record has no append time."""

    offset: int
    index: int
    time: int
    append: int
    before: int | None = None
    """The watermark before the record; None where the clock, and not a record, was the cause."""


TOGETHER = 512
"""The most streams in a round: few enough that their rows are still in a processor's cache in the next round."""


def rounds(row_N: Int64, fresh_N: npt.NDArray[np.bool_]) -> list[Int64]:
    """Divide the fresh events of a batch into rounds, each an array of places in the batch: the first event of each
    stream, the second of each, and so on. Of more than `TOGETHER` streams, one part runs through all its rounds before
    the next part."""
    at_N = np.flatnonzero(fresh_N)
    if len(at_N) < 2:
        return [at_N] if len(at_N) else []
    order = at_N[np.argsort(row_N[at_N], kind="stable")]
    sorted_N = row_N[order]
    starts = np.concatenate([[0], 1 + np.flatnonzero(sorted_N[1:] != sorted_N[:-1])])
    if len(starts) == len(order) <= TOGETHER:
        return [at_N]
    events = np.diff(starts, append=len(order))
    rank = np.arange(len(order)) - np.repeat(starts, events)
    parts = -(-len(starts) // TOGETHER)
    part = np.repeat(np.arange(len(starts)) * parts // len(starts), events)
    number = part * (rank.max() + 1) + rank
    by_number = order[np.lexsort((order, number))]
    return [one for one in np.split(by_number, np.cumsum(np.bincount(number))[:-1]) if len(one)]


class Clock:
    """The watermark before and after each record of a batch, and which record passed a given time."""

    def __init__(self, observations: Observations | None, watermark: int, otherwise: Trigger | None = None) -> None:
        self._observations, self._otherwise = observations, otherwise
        if observations is not None:
            self.after_N = np.maximum.accumulate(np.maximum(observations.time_N, watermark))
            self.before_N = np.empty(len(self.after_N))
            self.before_N[0], self.before_N[1:] = watermark, self.after_N[:-1]

    def passed(self, time: float) -> Trigger:
        """Return the first record whose watermark reaches `time`. Without a batch, return the trigger given at
        construction instead."""
        if self._observations is None:
            assert self._otherwise is not None
            return self._otherwise
        return self.at(int(np.searchsorted(self.after_N, time)))

    def at(self, place: int) -> Trigger:
        o = self._observations
        assert o is not None
        return Trigger(
            int(o.offset_N[place]),
            int(o.index_N[place]),
            int(o.time_N[place]),
            int(o.append_N[place]),
            int(self.before_N[place]),
        )
