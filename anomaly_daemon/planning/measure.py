"""The constants of the cost model in `costs`, measured on this machine for one configuration, in a few seconds on one
core."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil

import numpy as np

from anomaly_daemon.bootstrap import make_of, replay_detector
from anomaly_daemon.checkpoint.snapshot import Bucket, decode_bucket, encode_bucket
from anomaly_daemon.daemon.allocation import keep_freed_memory
from anomaly_daemon.detection.artifact import Model
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.observation import Observations
from anomaly_daemon.detection.order import TOGETHER
from anomaly_daemon.detection.rules import DAY_SECONDS
from anomaly_daemon.planning.costs import FETCH_SECONDS_PER_BYTE, POLL_SECONDS, Costs
from anomaly_daemon.settings import Settings, StreamSettings, TimeUnit
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.ports import Partition, RecordBatch

STREAMS, TURNS = 1000, 4
START, MINUTE = 1_700_000_000_000_000, 60_000_000
REPEATS = 12
ROOM = 100
"""Times as many streams as are generated have room. A limit is divided over buckets, which streams fill unevenly."""
PARTITION = Partition("plan", 0)


def bytes_per_stream(detector: Detector) -> int:
    """Return the size of one stream's row in the slab."""
    slab = detector.slab
    return int(slab.carried_SP.strides[0] + slab.statistics_SQ.strides[0])


def measured(settings: Settings, model: Model) -> Costs:
    """Return the costs measured with `STREAMS` streams of generated records. They have the fields of this
    configuration, but are JSON whatever the configured format is."""
    keep_freed_memory()
    process, settings = _resident(), _unhindered(settings)
    detector = replay_detector(settings, model, PARTITION)
    batch, stream = _batch(settings), _wide(settings)
    decoder = Decoder(stream, settings.limits)
    decoding = _shortest(lambda: decoder.decode(batch)) / len(batch)
    whole = decoder.decode(batch).observations
    one = replace(whole.take(slice(0, 1)), keys=whole.keys[:1])
    stepping = _shortest(_stepper(detector, whole, 0)) / TURNS
    alone = _shortest(_stepper(detector, one, REPEATS))
    state = detector.export(0, 1)
    blob = encode_bucket(Bucket(make_of(settings, model), 0, 0, state))
    restoring = _shortest(lambda: replay_detector(settings, model, PARTITION).restore(decode_bucket(blob).state))
    return Costs(
        round_seconds=alone,
        event_seconds=max(stepping - ceil(STREAMS / TOGETHER) * alone, 0.0) / STREAMS + decoding + POLL_SECONDS,
        bytes_per_stream=bytes_per_stream(detector),
        snapshot_bytes_per_stream=len(blob) / STREAMS,
        restore_seconds_per_stream=(restoring + FETCH_SECONDS_PER_BYTE * len(blob)) / STREAMS,
        process_bytes=process,
    )


def _unhindered(settings: Settings) -> Settings:
    """Return the settings without what would leave some of the generated records or streams out of the measurement:
    mute windows, and limits that evict streams."""
    limits, detection = settings.limits, settings.detection
    roomy = {
        "streams": max(limits.streams, ROOM * STREAMS),
        "idle_stream_seconds": max(limits.idle_stream_seconds, DAY_SECONDS),
    }
    given = {"limits": limits.model_copy(update=roomy), "detection": detection.model_copy(update={"mute": []})}
    return settings.model_copy(update=given)


def _stepper(detector: Detector, first: Observations, turn: int) -> Callable[[], object]:
    """Return a function that steps the detector over `first`, each time with later event times, so that no record is
    late."""

    def step() -> None:
        nonlocal turn
        turn += 1
        detector.step(replace(first, time_N=first.time_N + turn * TURNS * MINUTE))

    return step


def _shortest(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def _wide(settings: Settings) -> StreamSettings:
    given = {
        "format": "json",
        "unnest": None,
        "shape": "wide",
        "key": ["plan_key"],
        "time": "plan_time",
        "time_unit": TimeUnit.MICROSECONDS,
        "time_format": None,
        "magnitude_limit": math.inf,
    }
    return settings.stream.model_copy(update=given)


def _batch(settings: Settings) -> RecordBatch:
    stream, random = settings.stream, np.random.default_rng(0)
    names = [feature.field or feature.name for feature in stream.numeric]
    values = random.normal(20.0, 1.0, (STREAMS * TURNS, len(names))).round(2).tolist()
    records = [
        dict(zip(names, row, strict=True))
        | dict.fromkeys(stream.categorical, "a")
        | {"plan_key": f"stream-{at % STREAMS}", "plan_time": START + at // STREAMS * MINUTE}
        for at, row in enumerate(values)
    ]
    count = len(records)
    offsets, nothing = np.arange(count, dtype=np.int64), [None] * count
    blobs = [json.dumps(record).encode() for record in records]
    return RecordBatch(PARTITION, offsets, np.full(count, -1, np.int64), nothing, blobs, [()] * count, count)


def _resident() -> float:
    """The largest memory this process has held so far, in bytes. (ru_maxrss: kilobytes on Linux, bytes on macOS.)"""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else most * 1024)
