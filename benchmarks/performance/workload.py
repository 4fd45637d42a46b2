"""The load that all benchmarks share: streams of noisy waves, an event a minute each, as records or as observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.network import Layout, Network, NetworkConfig
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.regime import rules_of
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport import packed
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.memory import Stored
from anomaly_daemon.transport.ports import Partition, RecordBatch

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

START = 1_700_000_000_000_000
MINUTE = 60_000_000
MOST_STREAMS = 4_000_000
"""The limit of streams, well above any number that is tried: at the limit, streams would be evicted for one another."""
PACKED_READINGS = 100
"""Readings in one packed message."""


def names(fields: int) -> list[str]:
    return [f"v{place}" for place in range(fields)]


def settings_of(fields: int, form: str = "json") -> Settings:
    """Return the settings of a deployment with so many numeric fields."""
    stream: dict[str, Any] = {"numeric": names(fields), "format": form}
    if form == "json":
        stream |= {"key": ["id"], "time": "time"}
    files = {"source": {"kind": "files", "paths": ["-"]}, "sink": {"kind": "files", "path": "alerts"}}
    return Settings(**files, stream=stream, limits={"streams": MOST_STREAMS})


def values_of(streams: int, events: int, fields: int) -> FloatArray:
    """Return values [N, D] with two decimals. Event n belongs to stream n modulo `streams`."""
    noise = np.random.default_rng(0).normal(0.0, 0.3, (events, fields))
    phase = (np.arange(events) // streams)[:, None] / 20.0 + np.arange(fields)
    return np.asarray((20.0 + 3.0 * np.sin(phase) + noise).round(2))


def times_of(streams: int, events: int) -> IntArray:
    turn, stream = np.divmod(np.arange(events), streams)
    return np.asarray(START + turn * MINUTE + stream * MINUTE // (2 * streams))


def json_values(streams: int, events: int, fields: int) -> list[bytes]:
    """Return the events as JSON, of about 100 bytes each with 8 fields."""
    rows = zip(times_of(streams, events).tolist(), values_of(streams, events, fields).tolist(), strict=True)
    return [
        b'{"id":"s%d","time":%d%s}' % (at % streams, time, "".join(f',"v{d}":{v}' for d, v in enumerate(row)).encode())
        for at, (time, row) in enumerate(rows)
    ]


def packed_values(streams: int, events: int, fields: int) -> list[bytes]:
    """Return the events as packed messages of a hundred readings each."""
    return packed_messages(times_of(streams, events), values_of(streams, events, fields), np.arange(events) % streams)


def packed_messages(time_N: IntArray, values_ND: FloatArray, stream_N: IntArray) -> list[bytes]:
    """Return these readings as packed messages."""
    messages = []
    for start in range(0, len(time_N), PACKED_READINGS):
        part = slice(start, start + PACKED_READINGS)
        used, place = np.unique(stream_N[part], return_inverse=True)
        keys = [f"s{stream}" for stream in used.tolist()]
        messages.append(packed.encode(time_N[part], values_ND[part], keys, place))
    return messages


def stored(values: Sequence[bytes]) -> list[Stored]:
    return [Stored(START + 10**15, None, value) for value in values]


def batch_of(values: Sequence[bytes], start: int = 0) -> RecordBatch:
    count = len(values)
    offsets = np.arange(start, start + count, dtype=np.int64)
    appended = np.full(count, START + 10**15, np.int64)
    return RecordBatch(Partition("in", 0), offsets, appended, [None] * count, values, [()] * count, start + count)


def observations(streams: int, events: int, fields: int) -> Observations:
    """Return the events as observations, decoded from packed messages, which is the fastest way."""
    settings = settings_of(fields, "packed")
    return (
        Decoder(settings.stream, settings.limits).decode(batch_of(packed_values(streams, events, fields))).observations
    )


def part_of(whole: Observations, start: int, stop: int) -> Observations:
    """Return the events [start, stop) as a batch of their own, which names only the streams that occur in it."""
    part = whole.take(slice(start, stop))
    used, stream_N = np.unique(part.stream_N, return_inverse=True)
    keys = tuple(part.keys[stream] for stream in used.tolist())
    return replace(part, keys=keys, stream_N=stream_N.astype(np.int32))


def joint_model(fields: int, hidden: int = 64) -> Model:
    """Return an untrained network with one state a stream. It is as fast as a trained one."""
    schema = settings_of(fields).stream.schema_()
    config = NetworkConfig(layout=Layout.JOINT, hidden=hidden, values=fields)
    network = Network(config, torch.Generator().manual_seed(0)).eval()
    return Model(Manifest("untrained", "1", config, schema=schema), network, read_model("pretrained").calibration)


def detector_of(fields: int, model: Model | None = None) -> Detector:
    """Return a detector with the given model, or with the shipped network (one state a field)."""
    settings = settings_of(fields)
    chosen = model or read_model("pretrained")
    return Detector(chosen, settings.stream.schema_(), rules_of(settings), "in", 0)
