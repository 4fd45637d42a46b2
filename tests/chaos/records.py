"""The generated input, with a seed: sensors with disturbances of every kind, so that at any time an alert could be
lost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from typing import Any, NamedTuple

import numpy as np

START = 1_700_000_000
"""Event time of the first round, epoch seconds."""
CADENCE = 60
"""Seconds between two readings of a stream. One reading of each stream is a round."""
WARM_UP = 60
"""Rounds before the first disturbance, so that each stream has a past."""
SPACING = 60
"""Rounds from one disturbance of a stream to the next."""
LASTING = 20
"""Rounds that a disturbance lasts."""
PERIODS = 64
"""Disturbances planned for a stream. After that many, the same sequence is repeated."""
MALFORMED_EVERY = 1_000


class Disturbance(IntEnum):
    """The kinds of disturbance of a stream. Each raises another kind of alert."""

    JUMP = 0
    STUCK = 1
    VANISHED = 2
    SILENT = 3


class Record(NamedTuple):
    partition: int
    milliseconds: int
    """The timestamp of the record. It is the same in every run, because it appears in alerts."""
    value: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is generated: `events` records of `streams` sensors, in the order of their event time."""

    seed: int
    events: int
    streams: int
    partitions: int = 6

    def records(self) -> list[Record]:
        return [record for record, _ in zip(self._endless(), range(self.events), strict=False)]

    def _endless(self) -> Iterator[Record]:
        chance = np.random.default_rng(self.seed)
        kinds = chance.integers(0, len(Disturbance), (self.streams, PERIODS))
        begin = WARM_UP + chance.integers(0, SPACING, self.streams)
        second = np.sort(chance.integers(0, CADENCE, self.streams))
        temperature = np.zeros(self.streams)
        sent = 0
        for at in count():
            since = at - begin
            disturbed = (since >= 0) & (since % SPACING < LASTING)
            kind = np.where(disturbed, kinds[np.arange(self.streams), since // SPACING % PERIODS], -1)
            noise = chance.normal(0.0, 1.0, (self.streams, 2))
            fresh = 20.0 + 3.0 * np.sin(at / 14.0 + begin) + 0.5 * noise[:, 0] + 15.0 * (kind == Disturbance.JUMP)
            temperature = np.where(kind == Disturbance.STUCK, temperature, fresh)
            for stream in np.flatnonzero(kind != Disturbance.SILENT).tolist():
                time = START + CADENCE * at + int(second[stream])
                reading: dict[str, Any] = {"id": f"s{stream:04}", "time": time, "temperature": temperature[stream]}
                if kind[stream] != Disturbance.VANISHED:
                    reading["pressure"] = 5.0 + 0.1 * noise[stream, 1]
                sent += 1
                broken = b"not json" if sent % MALFORMED_EVERY == 0 else None
                yield Record(stream % self.partitions, 1000 * time, broken or json.dumps(reading).encode())


def by_partition(records: Iterable[Record]) -> dict[int, list[Record]]:
    """Group the records by partition, in their order."""
    found = defaultdict(list)
    for record in records:
        found[record.partition].append(record)
    return found
