"""What an event, a round, a stream and a process cost, under one configuration; docs/performance.md explains the model."""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_daemon.detection.network import Layout, NetworkConfig

ROUND_SECONDS = 1.6e-3
EVENT_SECONDS = 3.2e-6
FIELD_SECONDS = {Layout.CHANNEL: 1.9e-6, Layout.JOINT: 0.8e-6}
"""Of each numeric field: in the channel layout it is a row of the network, in the joint layout one of its inputs."""
RESTORE_SECONDS_PER_BYTE = 4e-9
PROCESS_BYTES = 600e6

REFERENCE_UNITS = 64
"""Hidden units of the network that the above were measured with."""
NETWORK_SHARE = 0.4
"""Of a field's cost, what grows with the square of the hidden units."""


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
    larger = 1.0 - NETWORK_SHARE + NETWORK_SHARE * network.layers * (network.hidden / REFERENCE_UNITS) ** 2
    return Costs(
        round_seconds=ROUND_SECONDS,
        event_seconds=EVENT_SECONDS + numeric * FIELD_SECONDS[network.layout] * larger,
        bytes_per_stream=bytes_per_stream,
        snapshot_bytes_per_stream=bytes_per_stream,
        restore_seconds_per_stream=RESTORE_SECONDS_PER_BYTE * bytes_per_stream,
        process_bytes=PROCESS_BYTES,
    )
