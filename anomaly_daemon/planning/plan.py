"""Computes how large a deployment has to be for a given load. Pure: `costs` gives the cost of each thing.

A round takes at most one event of each stream. So a stream of r events a second needs r rounds a second from its
process, however few streams share them. More processes divide the events, but not these rounds: a stream that is too
fast for one core is too fast for any number of cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from anomaly_daemon.detection.order import TOGETHER
from anomaly_daemon.planning.costs import Costs

UTILISATION = 0.6
"""Share of a core that is planned for. The rest is for catching up after a restart, commits and snapshots."""
ROOM_BESIDE = 1.5
"""Memory of a stream, as a multiple of its row: also its key, the row that the slab keeps free for the next stream, and
snapshots that are being written."""
COMPACTION = 1.5
"""Size of the snapshot topic, as a multiple of the state: the log cleaner removes superseded snapshots only later."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The load: events spread evenly over the streams. The last three fields come from the configuration."""

    events_per_second: float
    streams: int
    poll_records: int
    snapshot_seconds: float
    partition_streams: int
    """The most streams that a partition holds (`limits.streams`)."""

    @property
    def largest_round(self) -> int:
        """The largest number of streams in a round."""
        return min(self.poll_records, TOGETHER)

    @property
    def of_each_stream(self) -> float:
        """Events a second of one stream."""
        return self.events_per_second / self.streams


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a deployment, and what it can do."""

    reachable: bool
    """Whether any number of processes keeps to `UTILISATION`."""
    event_seconds: float
    """Seconds of one core for each event, with its share of the rounds."""
    events_per_second_a_core: float
    events_per_second_a_stream: float
    """The highest event rate that one stream may have."""
    processes: int
    partitions: int
    """The least number of partitions. There must be one for each process, because a member without one is idle, and
    enough for the streams, because a partition with too many evicts some."""
    utilisation: float
    """Share of each process's core that is used."""
    memory_bytes: float
    """Memory of all processes together."""
    snapshot_topic_bytes: float
    snapshot_bytes_per_second: float
    restore_seconds: float
    """Time to recover from a crash of one process: restoring its streams' state, and replaying the events since their
    snapshots."""


def plan(costs: Costs, asked: Demand) -> Plan:
    """Return the plan with the fewest processes that keep to `UTILISATION`. If no number does, it has one process for
    each stream."""
    processes = _processes(costs, asked)
    cores = _cores(costs, asked, processes)
    each, state = cores / asked.events_per_second, asked.streams * costs.snapshot_bytes_per_stream
    # Buckets are written one after the other over the period. A restore replays half of it on average, and all of it at
    # worst; the worst case is used.
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
    """Share of a core that is left beside the rounds which the streams' own rate requires."""
    if left <= 0:
        return asked.streams
    for_events = asked.events_per_second * costs.event_seconds / left
    for_full_rounds = asked.events_per_second * (costs.event_seconds + costs.round_seconds / asked.largest_round)
    return min(asked.streams, max(1, ceil(for_events), ceil(for_full_rounds / UTILISATION)))


def _cores(costs: Costs, asked: Demand, processes: int) -> float:
    """Return the number of busy cores. A round holds a stream at most once, and no more streams than a poll returns."""
    in_a_round = min(asked.streams / processes, asked.largest_round)
    return asked.events_per_second * (costs.event_seconds + costs.round_seconds / in_a_round)
