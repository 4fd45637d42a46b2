"""What an event, a round, a stream and a process cost under one configuration; docs/performance.md has the model."""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_daemon.detection import relation
from anomaly_daemon.detection.network import Layout, NetworkConfig

ROUND_SECONDS = 0.4e-3
EVENT_SECONDS = 2.1e-6
FIELD_SECONDS = {Layout.CHANNEL: 1.0e-6, Layout.JOINT: 0.37e-6}
"""For each numeric field of an event, without the part that grows with the network."""
PAIR_SECONDS = 7e-9
"""For each of the D² pairs of numeric fields of an event, where fields are compared with each other."""
ROW_SECONDS = 0.45e-6
"""For each row and layer of the network, with `REFERENCE_UNITS` units; it grows with the square of the units."""
REFERENCE_UNITS = 64
POLL_SECONDS = 0.6e-6
"""For each event, in the consumer. `measured` cannot measure this, because it has no broker."""
FETCH_SECONDS_PER_BYTE = 8e-9
"""For each byte of stored state that is fetched at a restore. `measured` cannot measure this either."""
RESTORE_SECONDS_PER_BYTE = 3e-9
"""For each byte of stored state that is checked, decoded and copied into the slab."""
PROCESS_BYTES = 660e6


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs under one configuration. Seconds are those of one core."""

    round_seconds: float
    """The fixed cost of a step, however few streams it has: the calls, not what they compute."""
    event_seconds: float
    """The cost of one more event in a step: decoding, network, statistics."""
    bytes_per_stream: float
    snapshot_bytes_per_stream: float
    restore_seconds_per_stream: float
    process_bytes: float
    """The memory of a daemon without any stream."""


def assumed(network: NetworkConfig, numeric: int, bytes_per_stream: int) -> Costs:
    """Return the costs derived from constants measured on the development machine (one core of an AMD EPYC with
    AVX-512, 2026)."""
    rows = numeric if network.layout is Layout.CHANNEL else 1
    pairs = numeric**2 if relation.possible(numeric) else 0
    row = ROW_SECONDS * network.layers * (network.hidden / REFERENCE_UNITS) ** 2
    return Costs(
        round_seconds=ROUND_SECONDS,
        event_seconds=EVENT_SECONDS + numeric * FIELD_SECONDS[network.layout] + pairs * PAIR_SECONDS + rows * row,
        bytes_per_stream=bytes_per_stream,
        snapshot_bytes_per_stream=bytes_per_stream,
        restore_seconds_per_stream=(FETCH_SECONDS_PER_BYTE + RESTORE_SECONDS_PER_BYTE) * bytes_per_stream,
        process_bytes=PROCESS_BYTES,
    )
