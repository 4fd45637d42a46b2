"""What an event, a round, a stream and a process cost, under one configuration; docs/performance.md explains the model."""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_daemon.detection import relation
from anomaly_daemon.detection.network import Layout, NetworkConfig

ROUND_SECONDS = 0.4e-3
EVENT_SECONDS = 2.1e-6
FIELD_SECONDS = {Layout.CHANNEL: 1.0e-6, Layout.JOINT: 0.37e-6}
"""Of each numeric field, but for what grows with the network."""
PAIR_SECONDS = 7e-9
"""Of each field with each, where fields are held against each other."""
ROW_SECONDS = 0.45e-6
"""Of each row and layer of the network, at `REFERENCE_UNITS`; it grows with their square."""
REFERENCE_UNITS = 64
POLL_SECONDS = 0.6e-6
"""Of an event: the consumer's part, which `measured` has no broker for."""
FETCH_SECONDS_PER_BYTE = 8e-9
"""Of stored state: the same, at a restore."""
RESTORE_SECONDS_PER_BYTE = 3e-9
"""Of stored state: checked, decoded, laid into the slab."""
PROCESS_BYTES = 660e6


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds are those of one core."""

    round_seconds: float
    """A step of however few streams: the calls, not what they compute."""
    event_seconds: float
    """One event more in it: decoding, network, statistics."""
    bytes_per_stream: float
    snapshot_bytes_per_stream: float
    restore_seconds_per_stream: float
    process_bytes: float
    """A daemon without any stream."""


def assumed(network: NetworkConfig, numeric: int, bytes_per_stream: int) -> Costs:
    """As measured on the machine this was developed on (one core of an AMD EPYC with AVX-512, 2026)."""
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
