"""From what is asked of a deployment to how large it has to be. Pure: `costs` says what each thing costs.

A round takes each stream once, so a stream of r events a second takes r rounds a second from the process it is in,
however few streams share them. More processes divide the events, not those rounds: a stream that is too fast for one
core is too fast for any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from anomaly_daemon.detection.order import TOGETHER
from anomaly_daemon.planning.costs import Costs

UTILISATION = 0.6
"""Of a core: the rest is for catching up after a restart, commits and snapshots."""
ROOM_BESIDE = 1.5
"""Of a stream's row: its key, the row that the slab has ready for the next one, and snapshots on their way out."""
COMPACTION = 1.5
"""Snapshots that are written over stay until the log cleaner has come by."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked: events spread evenly over the streams. The last three fields are the configuration's."""

    events_per_second: float
    streams: int
    poll_records: int
    snapshot_seconds: float
    partition_streams: int
    """A partition holds no more: `limits.streams`."""

    @property
    def largest_round(self) -> int:
        """Streams of a round at most."""
        return min(self.poll_records, TOGETHER)

    @property
    def of_each_stream(self) -> float:
        """Events a second."""
        return self.events_per_second / self.streams


@dataclass(frozen=True, slots=True)
class Plan:
    """What it takes."""

    reachable: bool
    """Whether any number of processes keeps to `UTILISATION`."""
    event_seconds: float
    """Of one core, all in."""
    events_per_second_a_core: float
    events_per_second_a_stream: float
    """The most that one stream may send."""
    processes: int
    partitions: int
    """At least; members never outnumber them, and a partition that holds too many streams evicts some."""
    utilisation: float
    """Of each process's core."""
    memory_bytes: float
    """Of all processes together."""
    snapshot_topic_bytes: float
    snapshot_bytes_per_second: float
    restore_seconds: float
    """After a crash of one process: its streams' state, and the events since their snapshots."""


def plan(costs: Costs, asked: Demand) -> Plan:
    """The fewest processes that keep to `UTILISATION`; a process for each stream where none do."""
    processes = _processes(costs, asked)
    cores = _cores(costs, asked, processes)
    each, state = cores / asked.events_per_second, asked.streams * costs.snapshot_bytes_per_stream
    # Buckets are written one after the other over the period: half of it is replayed on average, all of it at worst.
    replayed = cores / processes * asked.snapshot_seconds
    return Plan(
        reachable=cores / processes <= UTILISATION,
        event_seconds=each,
        events_per_second_a_core=1.0 / each,
        events_per_second_a_stream=UTILISATION / (costs.round_seconds + costs.event_seconds),
        processes=processes,
        partitions=max(processes, ceil(asked.streams / asked.partition_streams)),
        utilisation=cores / processes,
        memory_bytes=processes * costs.process_bytes + ROOM_BESIDE * asked.streams * costs.bytes_per_stream,
        snapshot_topic_bytes=COMPACTION * state,
        snapshot_bytes_per_second=state / asked.snapshot_seconds if asked.snapshot_seconds else 0.0,
        restore_seconds=asked.streams / processes * costs.restore_seconds_per_stream + replayed,
    )


def _processes(costs: Costs, asked: Demand) -> int:
    left = UTILISATION - asked.of_each_stream * costs.round_seconds
    """Of a core, beside the rounds that the streams' own pace asks for."""
    if left <= 0:
        return asked.streams
    for_events = asked.events_per_second * costs.event_seconds / left
    for_full_rounds = asked.events_per_second * (costs.event_seconds + costs.round_seconds / asked.largest_round)
    return min(asked.streams, max(1, ceil(for_events), ceil(for_full_rounds / UTILISATION)))


def _cores(costs: Costs, asked: Demand, processes: int) -> float:
    """That are busy. A round holds a stream once, and no more than a poll gives."""
    in_a_round = min(asked.streams / processes, asked.largest_round)
    return asked.events_per_second * (costs.event_seconds + costs.round_seconds / in_a_round)
