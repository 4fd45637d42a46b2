"""Which streams are forgotten to make room for new ones (law L11): decided by records alone, separately for each
snapshot bucket.

A replay rebuilds each bucket from its own floor, while other buckets may be further on. What is evicted from a bucket
must therefore follow from that bucket's records. Each bucket holds its share of `max_streams`. When a record of a new
stream finds its bucket full, the streams of the bucket that have been unseen for longest are forgotten.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from anomaly_daemon.detection.observation import Int64, Observations
from anomaly_daemon.detection.state import Slab, bucket_of

SHARE = 8
"""One in this many streams of a full bucket is evicted at once, so that a flood of new keys costs one search for many
of them."""


class Evicted(NamedTuple):
    """How many streams were forgotten."""

    idle: int = 0
    """Forgotten because they were unseen for long."""
    limit: int = 0
    """Forgotten to make room for others."""

    def plus(self, more: Evicted) -> Self:
        """Return the sum of both."""
        return self._replace(idle=self.idle + more.idle, limit=self.limit + more.limit)


def capacity(max_streams: int, buckets: int) -> int:
    """Return the most streams that one bucket may hold."""
    return max(1, ceil(max_streams / buckets))


def until_full(
    slab: Slab, observations: Observations, known_K: Int64, fresh_N: npt.NDArray[np.bool_], most: int
) -> int:
    """Return how many of these observations can be processed before a new stream finds its bucket full. `known_K`:
    `Slab.known` of their keys."""
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
    """Return the rows to evict from the full bucket of this key: an eighth of it, the longest unseen first; the key
    breaks ties."""
    row_B = slab.in_bucket(bucket_of(key, slab.buckets), slab.buckets)
    seen = dict(zip(row_B.tolist(), slab.column("seen_at")[row_B].tolist(), strict=True))
    ordered = sorted(seen, key=lambda row: (seen[row], slab.key_of[row]))
    return np.asarray(ordered[: max(1, most // SHARE)], np.int64)
