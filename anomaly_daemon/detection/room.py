"""Which streams are forgotten to make room (law L11): decided by records alone, and snapshot bucket by bucket.

A replay rebuilds each bucket from its own floor, while the others may stand further on. So what is evicted from a bucket
follows from that bucket's records: it holds its share of `max_streams`, and when a record of a new stream finds it full,
the longest unseen of its streams go.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Int64, Observations
from anomaly_daemon.detection.state import Slab, bucket_of

SHARE = 8
"""One in this many streams of a full bucket goes at once: a flood of new keys costs one search for many of them."""


class Gone(NamedTuple):
    """How many streams were forgotten."""

    idle: int = 0
    """Unseen for long."""
    limit: int = 0
    """To make room for others."""

    def and_also(self, more: Gone) -> Self:
        """These, too."""
        return self._replace(idle=self.idle + more.idle, limit=self.limit + more.limit)


def capacity(max_streams: int, buckets: int) -> int:
    """The most streams of one bucket."""
    return max(1, ceil(max_streams / buckets))


def until_full(
    slab: Slab, observations: Observations, known_K: Int64, fresh_N: npt.NDArray[np.bool_], most: int
) -> int:
    """How many of these observations can be taken in before a new stream finds its bucket full. `known_K`: `Slab.known` of
    their keys."""
    if int(slab.population_K.max()) + np.count_nonzero(known_K < 0) <= most:
        return len(observations)
    at_N = np.flatnonzero(fresh_N)
    streams, first = np.unique(observations.stream_N[at_N], return_index=True)
    population = slab.population_K.copy()
    appear: list[tuple[int, int]] = sorted(zip(at_N[first].tolist(), streams.tolist(), strict=True))
    for place, stream in appear:
        if known_K[stream] < 0:
            bucket = bucket_of(observations.keys[stream], slab.buckets)
            if population[bucket] >= most:
                return place
            population[bucket] += 1
    return len(observations)


def longest_unseen(slab: Slab, key: str, most: int) -> Int64:
    """The rows that make room in the full bucket of this key: an eighth of it, ties told apart by the key."""
    row_B = slab.in_bucket(bucket_of(key, slab.buckets), slab.buckets)
    seen = dict(zip(row_B.tolist(), slab.column("seen_at")[row_B].tolist(), strict=True))
    ordered = sorted(seen, key=lambda row: (seen[row], slab.key_of[row]))
    return np.asarray(ordered[: max(1, most // SHARE)], np.int64)
